// The choice of the algorithm, and the table of an instruction set.
#include "rows.h"

namespace wct {
namespace WCT_ISA {
namespace {

// Zeros for the canvas beside the image.
void clear(const Shape& s, Index image, float* y) {
  const Index times = s.upsample ? 2 : 1, n = s.outputs, width = times * s.width, columns = times * s.columns;
  for (Index row = 0; row < times * s.height; row++) {
    const Index from = row < times * s.rows ? columns : 0;
    memset(y + ((image * times * s.height + row) * width + from) * n, 0, bytes((width - from) * n));
  }
}

bool convolve_image(const Workers& workers, const Shape& s, const float* x, const float* kernel, const float* bias,
                    bool relu, float* y) {
  return convolve({workers, s, x, kernel, bias, relu, Border::kReflect, y});
}

}  // namespace

bool convolve(const Convolution& c) {
  const Shape& s = c.shape;
  if (s.rows < s.height || s.columns < s.width)
    parallel(c.workers, s.count, [&](Index i, int) { clear(s, i, c.y); });
  // Narrower ones take longer to transform than to multiply.
  if (s.inputs % kLanes == 0 && s.outputs % kLanes == 0 && s.inputs >= 32 && s.outputs >= 32)
    return convolve_by_winograd(c);
  if (s.outputs <= kFew && 3 * s.inputs % kLanes == 0 && !s.upsample && c.border == Border::kReflect)
    return convolve_to_few(c);
  return convolve_directly(c);
}

const Kernels kernels = {WCT_INSTRUCTIONS, convolve_image, image_gradient, kernel_gradient, moments};

}  // namespace WCT_ISA
}  // namespace wct
