// The convolution by each of the algorithms.
#ifndef WCT_CONVOLUTION_H_
#define WCT_CONVOLUTION_H_

#include "vector.h"

namespace wct {
namespace WCT_ISA {

enum class Border { kReflect, kZero };

struct Convolution {
  const Workers& workers;
  const Shape& shape;
  const float* x;
  const float* kernel;
  const float* bias;  // Null for none.
  bool relu;
  bool pool;  // Whether to store the largest of each 2x2 results.
  Border border;
  float* y;
};

// Whether Winograd's way is faster: narrower ones take longer to transform than to multiply.
INLINE bool is_wide(const Shape& s) {
  return s.inputs % kLanes == 0 && s.outputs % kLanes == 0 && s.inputs >= 32 && s.outputs >= 32;
}

// Each returns false if there is no memory, and leaves alone the canvas beside the image.
bool convolve_directly(const Convolution&);
bool convolve_by_winograd(const Convolution&);  // If it is wide.
// One after the other; the first one's y and the second one's x are not used.
bool convolve_both_directly(const Convolution& first, const Convolution& second);

// By the fastest, with zeros beside the image.
bool convolve(const Convolution&);

bool image_gradient(const Workers&, const Shape&, const float* y, const float* kernel, float* x);
bool kernel_gradient(const Workers&, const Shape&, const float* x, const float* y, float* kernel);
bool kernel_gradient_by_winograd(const Workers&, const Shape&, const float* x, const float* y, float* kernel);
bool moments(const Workers&, const Shape&, const float* x, const float* weights, float* count, float* mean,
             float* scatter);
bool map_pixels(const Workers&, const Shape&, const float* x, const float* strength, const float* mean,
                const float* matrix, const float* target, float* y);

}  // namespace WCT_ISA
}  // namespace wct

#endif
