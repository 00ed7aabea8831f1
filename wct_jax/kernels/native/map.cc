// An affine map of the pixels of features.
#include "product.h"

namespace wct {
namespace WCT_ISA {

bool map_pixels(const Workers& workers, const Shape& s, const float* x, const float* strength, const float* mean,
                const float* matrix, const float* target, float* y) {
  constexpr Index kPart = 16, kCached = Index{1} << 14;
  const Index n = s.inputs, width = padded(n), pixels = s.height * s.width, parts = divide_up(n, kPart);
  const Index size = most(1, least(pixels, kCached / n)), chunks = divide_up(pixels, size);
  Buffer weights(s.count * n * width), bias(s.count * width), scratch(workers.threads * 2 * size * n);
  if (!weights || !bias || !scratch) return false;
  parallel(workers, s.count * parts, [&](Index task, int) {
    const Index image = task / parts, from = task % parts * kPart, end = least(from + kPart, n);
    float* own = weights + image * n * width;
    for (Index o = 0; o < n; o++)
      for (Index i = from; i < end; i++) own[i * width + o] = matrix[(image * n + o) * n + i];
    for (Index i = from; i < end; i++)
      for (Index o = n; o < width; o++) own[i * width + o] = 0;
    if (from == 0) pad_row(target + image * n, n, bias + image * width);
  });
  parallel(workers, s.count * chunks, [&](Index task, int thread) {
    const Index image = task / chunks, first = task % chunks * size, count = least(size, pixels - first);
    const float* from = x + (image * pixels + first) * n;
    const float* shares = strength + image * pixels + first;
    float* centered = scratch + thread * 2 * size * n;
    float* before = centered + size * n;
    memcpy(before, from, bytes(count * n));  // As y may be x.
    // First, since bias - matrix * mean would be a difference of large numbers where the matrix is large.
    for (Index p = 0; p < count; p++)
      for (Index c = 0; c < n; c++) centered[p * n + c] = before[p * n + c] - mean[image * n + c];
    Product product = {};
    product.taps = 1, product.x[0] = centered, product.next = product.depth = n;
    product.w = weights + image * n * width, product.width = width, product.bias = bias + image * width;
    product.y = y + (image * pixels + first) * n, product.row = product.channels = n;
    run(product, count);
    for (Index p = 0; p < count; p++) {
      if (shares[p] == 1) continue;
      for (Index c = 0; c < n; c++) {
        float& result = product.y[p * n + c];
        result = shares[p] * result + (1 - shares[p]) * before[p * n + c];
      }
    }
  });
  return true;
}

}  // namespace WCT_ISA
}  // namespace wct
