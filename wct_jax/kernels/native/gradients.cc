// Gradients of the convolution.
#include "convolution.h"
#include "product.h"
#include "rows.h"

namespace wct {
namespace WCT_ISA {

namespace {

// Adds the gradients of the reflected pixels around an image to those of the pixels that they show. `kernel` is turned
// round: `[3, 3, outputs, inputs]`.
void fold_border(const Shape& s, const float* y, const float* kernel, Index image, float* line, float* result,
                 float* x) {
  const Index n = s.inputs, m = s.outputs, width = padded(n);
  const auto at = [&](Index row, Index column) { return (image * s.height + row) * s.width + column; };
  for (int side = 0; side < 4; side++) {
    const bool vertical = side >= 2, far = side % 2;
    const Index length = vertical ? s.rows : s.columns, end = vertical ? s.columns : s.rows;
    // Two zeros on either side of the line of the image that is next to the border.
    memset(line, 0, bytes((length + 4) * m));
    const Index last = far ? end - 1 : 0, target = reflect(far ? end : -1, end);
    for (Index i = 0; i < length; i++)
      memcpy(line + (i + 2) * m, y + (vertical ? at(i, last) : at(last, i)) * m, bytes(m));
    // Rows have corners, columns none.
    const Index begin = vertical ? 0 : -1, stop = vertical ? length : length + 1;
    Product product = {};
    product.taps = 3, product.next = m, product.depth = m, product.width = width;
    product.y = result, product.row = width, product.channels = width, product.w = kernel + side * 3 * m * width;
    for (int t = 0; t < 3; t++) product.x[t] = line + (begin + 1 + t) * m;
    run(product, stop - begin);
    for (Index i = begin; i < stop; i++) {
      const Index place = reflect(i, length);
      float* to = x + (vertical ? at(place, target) : at(target, place)) * n;
      for (Index c = 0; c < n; c++) to[c] += result[(i - begin) * width + c];
    }
  }
}

}  // namespace

bool image_gradient(const Workers& workers, const Shape& s, const float* y, const float* kernel, float* x) {
  const Index n = s.inputs, m = s.outputs, width = padded(n);
  Buffer turned(9 * m * n), edges(12 * m * width);
  const Index length = most(s.rows, s.columns) + 4;
  Buffer lines(workers.threads * length * (m + width));
  if (!turned || !edges || !lines) return false;
  constexpr Index kPart = 16;
  const Index parts = divide_up(m, kPart);
  const auto turn = [&](Index task, int) {
    const Index t = task / parts, from = task % parts * kPart, end = least(from + kPart, m);
    for (Index i = 0; i < n; i++)
      for (Index o = from; o < end; o++) turned[(t * m + o) * n + i] = kernel[((8 - t) * n + i) * m + o];
  };
  parallel(workers, 9 * parts, turn, n * m > Index{1} << 12);
  Shape back = s;
  back.inputs = m, back.outputs = n;
  if (!convolve({workers, back, y, turned, nullptr, false, false, Border::kZero, x})) return false;
  // The taps that reach the border from the line next to it: the last row of the turned kernel above, and so on.
  for (int side = 0; side < 4; side++)
    for (int t = 0; t < 3; t++)
      for (Index o = 0; o < m; o++) {
        const int a = side == 0 ? 2 : side == 1 ? 0 : t, b = side == 2 ? 2 : side == 3 ? 0 : t;
        pad_row(turned + ((a * 3 + b) * m + o) * n, n, edges + ((side * 3 + t) * m + o) * width);
      }
  parallel(workers, s.count, [&](Index image, int thread) {
    float* line = lines + thread * length * (m + width);
    fold_border(s, y, edges, image, line, line + length * m, x);
  });
  return true;
}

bool kernel_gradient(const Workers& workers, const Shape& s, const float* x, const float* y, float* kernel) {
  if (is_wide(s)) return kernel_gradient_by_winograd(workers, s, x, y, kernel);
  const Index times = s.upsample ? 2 : 1, n = s.inputs, m = s.outputs, width = padded(m);
  const Index rows = times * s.rows, columns = times * s.columns, taps = 9 * n * width;
  constexpr Index kBlock = kWidest * kLanes, kPartial = Index{1} << 21;
  const Index blocks = divide_up(width, kBlock);
  // Sums of several parts of the rows, always the same ones, so that the result does not depend on the threads.
  const Index parts = most(1, least(least(16, kPartial / taps), divide_up(s.count * rows, 4)));
  const Index each = divide_up(s.count * rows, parts);
  const Index ring = Rows::floats(s, s.upsample), line = width * columns;
  Buffer sums(parts * taps), memory(workers.threads * (ring + line));
  if (!sums || !memory) return false;
  memset(sums, 0, bytes(parts * taps));
  parallel(workers, parts * blocks, [&](Index i, int thread) {
    const Index part = i / blocks, channel = i % blocks * kBlock, last = least((part + 1) * each, s.count * rows);
    float* own = memory + thread * (ring + line);
    Rows above(s, x, Border::kReflect, own, s.upsample);
    for (Index r = part * each; r < last; r++) {
      const Index image = r / rows, row = r % rows;
      if (row == 0 || r == part * each) above.begin(image, row);
      const float* gradient = y + ((image * times * s.height + row) * times * s.width) * m;
      if (width != m) {
        for (Index p = 0; p < columns; p++) pad_row(gradient + p * m, m, own + ring + p * width);
        gradient = own + ring;
      }
      for (int a = 0; a < 3; a++) {
        const float* seen = above.at(row, a);
        float* into = sums + part * taps + a * 3 * n * width;
        add_outer(seen, n, gradient + channel, width, columns, 3 * n, least(kBlock, width - channel), into + channel,
                  width);
      }
    }
  });
  parallel(workers, 9 * n, [&](Index i, int) {
    for (Index o = 0; o < m; o++) {
      float total = 0;
      for (Index part = 0; part < parts; part++) total += sums[part * taps + i * width + o];
      kernel[i * m + o] = total;
    }
  });
  return true;
}

}  // namespace WCT_ISA
}  // namespace wct
