// Winograd's minimal filtering.
//
// F(4x4, 3x3) of Lavin and Gray (arXiv:1509.09308) makes the 16 results of a cell of 4x4 pixels from 36 products
// instead of 144: Aᵀ (Σ over inputs of (G k Gᵀ) ∘ (Bᵀ x B)) A. Of an upsampled image the products of the third row and
// column are zero, since they are of differences of equal pixels, which leaves 25.
#ifndef WCT_WINOGRAD_H_
#define WCT_WINOGRAD_H_

#include "convolution.h"

namespace wct {
namespace WCT_ISA {

constexpr Index kCell = 4;

// The cells of the images of a batch.
struct Grid {
  explicit Grid(const Shape& s)
      : down(divide_up((s.upsample ? 2 : 1) * s.rows, kCell)),
        across(divide_up((s.upsample ? 2 : 1) * s.columns, kCell)),
        cells(s.count * down * across) {}

  Index image(Index cell) const { return cell / across / down; }
  Index top(Index cell) const { return cell / across % down * kCell; }
  Index left(Index cell) const { return cell % across * kCell; }

  const Index down, across, cells;
};

template <bool kUpsample>
struct Winograd {
  static constexpr int kSide = kUpsample ? 5 : 6, kProducts = kSide * kSide;

  // The points 0, a, -a, b, -b and infinity. These keep rounding small: with 1 and 2 it would be four times as large.
  // An upsampled image is a multiple of 1 + z, and has no product at -1.
  static constexpr float a = kUpsample ? 1 : 0.70710678118654752f, a2 = kUpsample ? 1 : 0.5f;
  static constexpr float b = kUpsample ? 1.5f : 1.41421356237309505f, b2 = kUpsample ? 2.25f : 2;

  static constexpr float kNear = 1 / (2 * a2 * (a2 - b2)), kFar = 1 / (2 * b2 * (b2 - a2));

  static INLINE void to_products(const Vector (&x)[6], Vector (&out)[kSide]) {
    Vector even = x[4] - b2 * x[2], odd = a * (x[3] - b2 * x[1]), far_even = x[4] - a2 * x[2];
    Vector far_odd = b * (x[3] - a2 * x[1]);
    int i = 0;
    out[i++] = a2 * b2 * x[0] - (a2 + b2) * x[2] + x[4];
    out[i++] = even + odd;
    if (!kUpsample) out[i++] = even - odd;
    out[i++] = far_even + far_odd;
    out[i++] = far_even - far_odd;
    out[i++] = a2 * b2 * x[1] - (a2 + b2) * x[3] + x[5];
  }

  static INLINE void to_cell(const Vector (&m)[kSide], Vector (&out)[4]) {
    constexpr int far = kUpsample ? 2 : 3;
    Vector even = m[1], odd = m[1], far_even = m[far] + m[far + 1], far_odd = m[far] - m[far + 1];
    if (!kUpsample) even += m[2], odd -= m[2];
    out[0] = m[0] + even + far_even;
    out[1] = a * odd + b * far_odd;
    out[2] = a2 * even + b2 * far_even;
    out[3] = a * a2 * odd + b * b2 * far_odd + m[far + 2];
  }

  static INLINE void of_taps(const Vector (&k)[3], Vector (&out)[kSide]) {
    Vector near_even = kNear * k[0] + kNear * a2 * k[2], near_odd = kNear * a * k[1];
    Vector far_even = kFar * k[0] + kFar * b2 * k[2], far_odd = kFar * b * k[1];
    int i = 0;
    out[i++] = k[0] / (a2 * b2);
    out[i++] = near_even + near_odd;
    if (!kUpsample) out[i++] = near_even - near_odd;
    out[i++] = far_even + far_odd;
    out[i++] = far_even - far_odd;
    out[i++] = k[2];
  }

  // The adjoints of the last two.
  static INLINE void of_cell(const Vector (&y)[4], Vector (&out)[kSide]) {
    const Vector even = y[0] + a2 * y[2], odd = a * y[1] + a * a2 * y[3];
    const Vector far_even = y[0] + b2 * y[2], far_odd = b * y[1] + b * b2 * y[3];
    int i = 0;
    out[i++] = y[0];
    out[i++] = even + odd;
    if (!kUpsample) out[i++] = even - odd;
    out[i++] = far_even + far_odd;
    out[i++] = far_even - far_odd;
    out[i++] = y[3];
  }

  static INLINE void to_taps(const Vector (&u)[kSide], Vector (&out)[3]) {
    constexpr int far = kUpsample ? 2 : 3;
    Vector even = u[1], odd = u[1];
    if (!kUpsample) even += u[2], odd -= u[2];
    const Vector far_even = kFar * (u[far] + u[far + 1]), far_odd = kFar * b * (u[far] - u[far + 1]);
    out[0] = u[0] / (a2 * b2) + kNear * even + far_even;
    out[1] = kNear * a * odd + far_odd;
    out[2] = kNear * a2 * even + b2 * far_even + u[far + 2];
  }

  // For some inputs, from `[3, 3, inputs, outputs]` at a channel, `[kProducts, inputs, width]`.
  static void transform_kernel(const Shape& s, const float* kernel, Index from, Index end, Index width, float* out) {
    for (Index i = from; i < end; i++)
      for (Index o = 0; o < width; o += kLanes) {
        Vector rows[kSide][3];
        for (int b = 0; b < 3; b++) {
          Vector taps[3], column[kSide];
          for (int a = 0; a < 3; a++) taps[a] = load(kernel + ((a * 3 + b) * s.inputs + i) * s.outputs + o);
          of_taps(taps, column);
          for (int f = 0; f < kSide; f++) rows[f][b] = column[f];
        }
        for (int f = 0; f < kSide; f++) {
          Vector row[kSide];
          of_taps(rows[f], row);
          for (int g = 0; g < kSide; g++) store(out + ((f * kSide + g) * s.inputs + i) * width + o, row[g]);
        }
      }
  }

  // Of the pixels of a cell and those around, `inputs` channels each: `kProducts` vectors, `next` apart.
  static void transform_image(const float* const (&pixels)[6][6], Index inputs, float* out, Index next) {
    for (Index c = 0; c < inputs; c += kLanes) {
      Vector columns[kSide][6];
      for (int b = 0; b < 6; b++) {
        Vector x[6], column[kSide];
        for (int a = 0; a < 6; a++) x[a] = load(pixels[a][b] + c);
        to_products(x, column);
        for (int f = 0; f < kSide; f++) columns[f][b] = column[f];
      }
      for (int f = 0; f < kSide; f++) {
        Vector row[kSide];
        to_products(columns[f], row);
        for (int g = 0; g < kSide; g++) store(out + (f * kSide + g) * next + c, row[g]);
      }
    }
  }

  // Of a cell of the images x.
  static INLINE void transform_cell(const Shape& s, const float* x, Border border, const float* zeros, const Grid& grid,
                                    Index cell, float* out, Index next) {
    const float* of_image = x + grid.image(cell) * s.height * s.width * s.inputs;
    const float* pixels[6][6];
    Index rows[6], columns[6];
    for (int i = 0; i < 6; i++) {
      rows[i] = position(grid.top(cell) + i - 1, s.rows, s.upsample, border);
      columns[i] = position(grid.left(cell) + i - 1, s.columns, s.upsample, border);
    }
    for (int i = 0; i < 6; i++)
      for (int j = 0; j < 6; j++)
        pixels[i][j] = rows[i] < 0 || columns[j] < 0 ? zeros : of_image + (rows[i] * s.width + columns[j]) * s.inputs;
    transform_image(pixels, s.inputs, out, next);
  }

  // Of the gradient of a cell's results: `kProducts` vectors, `next` apart.
  static void transform_gradient(const Shape& s, const float* y, const Grid& grid, Index cell, float* out, Index next) {
    const Index times = s.upsample ? 2 : 1, m = s.outputs, top = grid.top(cell), left = grid.left(cell);
    const float* corner = y + ((grid.image(cell) * times * s.height + top) * times * s.width + left) * m;
    for (Index c = 0; c < m; c += kLanes) {
      Vector columns[kSide][4];
      for (Index j = 0; j < kCell; j++) {
        Vector pixels[4], column[kSide];
        for (Index i = 0; i < kCell; i++) {
          const bool inside = top + i < times * s.rows && left + j < times * s.columns;
          pixels[i] = inside ? load(corner + (i * times * s.width + j) * m + c) : Vector{};
        }
        of_cell(pixels, column);
        for (int f = 0; f < kSide; f++) columns[f][j] = column[f];
      }
      for (int f = 0; f < kSide; f++) {
        Vector row[kSide];
        of_cell(columns[f], row);
        for (int g = 0; g < kSide; g++) store(out + (f * kSide + g) * next + c, row[g]);
      }
    }
  }

  // Results of a cell, from its products, `next` apart.
  static INLINE void transform_products(const float* products, Index next, Vector (&out)[4][4]) {
    Vector rows[4][kSide];
    for (int g = 0; g < kSide; g++) {
      Vector m[kSide], column[4];
      for (int f = 0; f < kSide; f++) m[f] = load(products + (f * kSide + g) * next);
      to_cell(m, column);
      for (int a = 0; a < 4; a++) rows[a][g] = column[a];
    }
    for (int a = 0; a < 4; a++) to_cell(rows[a], out[a]);
  }

 private:
  // The pixel at a place of the image as it is convolved; -1 for zeros.
  static INLINE Index position(Index i, Index n, bool upsample, Border border) {
    if (upsample) return clamp(i >= 0 ? i / 2 : 0, n);
    if (border == Border::kZero) return i < 0 || i >= n ? -1 : i;
    return reflect(i, n);
  }
};

}  // namespace WCT_ISA
}  // namespace wct

#endif
