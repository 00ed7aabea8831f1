// Calls the kernels without Python and XLA, for the sanitizers: .ci/sanitize.sh compiles and runs it.
// Every array has a heap block of exactly its size, so that any access beside it is seen.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>

#include "kernels.h"

namespace {

std::mt19937 generator(0);

int64_t number(int64_t least, int64_t most) { return std::uniform_int_distribution<int64_t>(least, most)(generator); }

std::unique_ptr<float[]> numbers(int64_t count) {
  std::unique_ptr<float[]> values(new float[count]);
  for (int64_t i = 0; i < count; ++i) values[i] = std::normal_distribution<float>()(generator);
  return values;
}

void expect(bool right, const wct::Kernels& kernels, const char* what) {
  if (right) return;
  std::fprintf(stderr, "%s: wrong result of %s\n", kernels.instructions, what);
  std::exit(1);
}

void try_doubled(const wct::Kernels& kernels) {
  const int64_t size = number(0, 100), begin = number(0, size), end = number(begin, size);
  const auto input = numbers(size);
  std::unique_ptr<float[]> output(new float[size]());
  kernels.doubled(input.get(), output.get(), begin, end);
  for (int64_t i = 0; i < size; ++i) {
    expect(output[i] == (i < begin || i >= end ? 0 : 2 * input[i]), kernels, "doubled");
  }
}

}  // namespace

int main() {
  const wct::Available available;
  for (const wct::Kernels* const* set = available.sets; *set; ++set) {
    for (int times = 0; times < 1000; ++times) try_doubled(**set);
    std::printf("%s: no fault found\n", (*set)->instructions);
  }
}
