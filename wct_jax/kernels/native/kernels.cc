// The choice of the algorithm, and the table of an instruction set.
#include "rows.h"

namespace wct {
namespace WCT_ISA {
namespace {

// Zeros for the canvas beside the image.
void clear(const Convolution& c) {
  const Shape& s = c.shape;
  if (s.rows == s.height && s.columns == s.width) return;
  const auto side = [&](Index n) { return divide_up((s.upsample ? 2 : 1) * n, c.pool ? 2 : 1); };
  const Index height = side(s.height), width = side(s.width), n = s.outputs;
  parallel(c.workers, s.count * height, [&](Index i, int) {
    const Index from = i % height < side(s.rows) ? side(s.columns) : 0;
    memset(c.y + (i * width + from) * n, 0, bytes((width - from) * n));
  });
}

bool convolve_image(const Workers& workers, const Shape& s, const float* x, const float* kernel, const float* bias,
                    bool relu, bool pool, float* y) {
  return convolve({workers, s, x, kernel, bias, relu, pool, Border::kReflect, y});
}

bool convolve_both(const Workers& workers, const Shape& s, const float* x, const float* kernel, const float* bias,
                   Index outputs, const float* next_kernel, const float* next_bias, bool relu, bool pool, float* y) {
  const Index times = s.upsample ? 2 : 1;
  const Shape next{s.count,           times * s.height, times * s.width, times * s.rows,
                   times * s.columns, s.outputs,        outputs,         false};
  Convolution first{workers, s, x, kernel, bias, true, false, Border::kReflect, nullptr};
  Convolution second{workers, next, nullptr, next_kernel, next_bias, relu, pool, Border::kReflect, y};
  if (!is_wide(s) && !is_wide(next)) {
    clear(second);
    return convolve_both_directly(first, second);
  }
  Buffer between(next.count * next.height * next.width * next.inputs);
  if (!between) return false;
  second.x = first.y = between;
  return convolve(first) && convolve(second);
}

}  // namespace

bool convolve(const Convolution& c) {
  clear(c);
  return is_wide(c.shape) ? convolve_by_winograd(c) : convolve_directly(c);
}

const Kernels kernels = {WCT_INSTRUCTIONS, convolve_image, convolve_both, image_gradient,
                         kernel_gradient,  moments,        map_pixels};

}  // namespace WCT_ISA
}  // namespace wct
