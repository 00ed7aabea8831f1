// The convolution by each of the algorithms.
#ifndef WCT_CONVOLUTION_H_
#define WCT_CONVOLUTION_H_

#include "kernels.h"

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

// Each returns false if there is no memory, and leaves alone the canvas beside the image.
bool convolve_directly(const Convolution&);
bool convolve_by_winograd(const Convolution&);  // Whole vectors of inputs and outputs.
// One after the other; the first one's y and the second one's x are not used.
bool convolve_both_directly(const Convolution& first, const Convolution& second);

// By the fastest, with zeros beside the image.
bool convolve(const Convolution&);

bool image_gradient(const Workers&, const Shape&, const float* y, const float* kernel, float* x);
bool kernel_gradient(const Workers&, const Shape&, const float* x, const float* y, float* kernel);
bool moments(const Workers&, const Shape&, const float* x, const float* weights, float* count, float* mean,
             float* scatter);

}  // namespace WCT_ISA
}  // namespace wct

#endif
