// Compiled once for each instruction set, with WCT_ISA its name. Nothing from std:: here: the linker keeps one copy of a
// template's instance, and that may be the one for a processor that has more.
#include "kernels.h"

namespace wct {
namespace WCT_ISA {
namespace {

void doubled(const float* input, float* output, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) output[i] = 2 * input[i];
}

}  // namespace

const Kernels kernels = {WCT_INSTRUCTIONS, doubled};

}  // namespace WCT_ISA
}  // namespace wct
