// Winograd's minimal filtering.
//
// F(4x4, 3x3) of Lavin and Gray (arXiv:1509.09308) makes the 16 results of a cell of 4x4 pixels from 36 products instead
// of 144: Aᵀ (Σ over inputs of (G k Gᵀ) ∘ (Bᵀ x B)) A. Of an upsampled image the products of the third row and column
// are zero, since they are of differences of equal pixels, which leaves 25.
#include "convolution.h"
#include "product.h"
#include "rows.h"

namespace wct {
namespace WCT_ISA {

namespace {

constexpr Index kCell = 4;

template <bool kUpsample>
struct Winograd {
  static constexpr int kSide = kUpsample ? 5 : 6, kProducts = kSide * kSide;

  // The points 0, a, -a, b, -b and infinity. These keep rounding small: with 1 and 2 it would be four times as large.
  // An upsampled image is a multiple of 1 + z, and has no product at -1.
  static constexpr float a = kUpsample ? 1 : 0.70710678118654752f, a2 = kUpsample ? 1 : 0.5f;
  static constexpr float b = kUpsample ? 1.5f : 1.41421356237309505f, b2 = kUpsample ? 2.25f : 2;

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
    constexpr float near = 1 / (2 * a2 * (a2 - b2)), far = 1 / (2 * b2 * (b2 - a2));
    Vector near_even = near * k[0] + near * a2 * k[2], near_odd = near * a * k[1];
    Vector far_even = far * k[0] + far * b2 * k[2], far_odd = far * b * k[1];
    int i = 0;
    out[i++] = k[0] / (a2 * b2);
    out[i++] = near_even + near_odd;
    if (!kUpsample) out[i++] = near_even - near_odd;
    out[i++] = far_even + far_odd;
    out[i++] = far_even - far_odd;
    out[i++] = k[2];
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

  static bool convolve(const Convolution& c) {
    const Shape& s = c.shape;
    constexpr Index kBlock = kWidest * kLanes, kKernelNumbers = Index{1} << 22, kCellNumbers = Index{3} << 17;
    const Index times = kUpsample ? 2 : 1, n = s.inputs;
    const Index rows = times * s.rows, columns = times * s.columns;
    const Index half_height = divide_up(times * s.height, 2), half_width = divide_up(times * s.width, 2);
    const Index down = divide_up(rows, kCell), across = divide_up(columns, kCell), cells = s.count * down * across;
    // Chunks of cells whose products stay in the cache, some for each thread.
    Index size = most(24, least(96, kCellNumbers / (kProducts * n)));
    Index chunks = divide_up(divide_up(cells, size), c.workers.threads) * c.workers.threads;
    size = divide_up(cells, chunks);
    // Not a power of two, or all products of a cell would share a set of the cache.
    const Index image_next = size * n + 16, product_next = size * kBlock + 16;
    // As many outputs at once as their kernels fit the cache of all cores.
    const Index group = most(1, kKernelNumbers / (kProducts * n * kBlock)) * kBlock;
    Buffer kernels(kProducts * n * least(group, s.outputs));
    const Index floats = kProducts * (image_next + product_next);
    Buffer memory(c.workers.threads * floats), zeros(n);
    if (!kernels || !memory || !zeros) return false;
    memset(zeros, 0, bytes(n));

    for (Index first = 0; first < s.outputs; first += group) {
      const Index outputs = least(group, s.outputs - first), parts = divide_up(n, 16);
      parallel(c.workers, divide_up(outputs, kBlock) * parts, [&](Index i, int) {
        Index channel = i / parts * kBlock, from = i % parts * 16;
        transform_kernel(s, c.kernel + first + channel, from, least(from + 16, n), least(kBlock, outputs - channel),
                         kernels + kProducts * n * channel);
      });
      parallel(c.workers, divide_up(cells, size), [&](Index chunk, int thread) {
        float* image = memory + thread * floats;
        float* products = image + kProducts * image_next;
        const Index begin = chunk * size, count = least(size, cells - begin);
        for (Index i = 0; i < count; i++) {
          const Index cell = begin + i, top = cell / across % down * kCell, left = cell % across * kCell;
          const float* of_image = c.x + cell / across / down * s.height * s.width * n;
          const float* pixels[6][6];
          Index by_row[6], by_column[6];
          for (int a = 0; a < 6; a++) {
            by_row[a] = position(top + a - 1, s.rows, c.border);
            by_column[a] = position(left + a - 1, s.columns, c.border);
          }
          for (int a = 0; a < 6; a++)
            for (int b = 0; b < 6; b++)
              pixels[a][b] =
                  by_row[a] < 0 || by_column[b] < 0 ? zeros : of_image + (by_row[a] * s.width + by_column[b]) * n;
          transform_image(pixels, n, image + i * n, image_next);
        }
        for (Index channel = 0; channel < outputs; channel += kBlock) {
          const Index width = least(kBlock, outputs - channel);
          for (int f = 0; f < kProducts; f++) {
            Product product = {};
            product.taps = 1, product.x[0] = image + f * image_next, product.next = product.depth = n;
            product.w = kernels + kProducts * n * channel + f * n * width, product.width = width;
            product.y = products + f * product_next, product.row = product.channels = width;
            run(product, count);
          }
          for (Index i = 0; i < count; i++) {
            const Index cell = begin + i, top = cell / across % down * kCell, left = cell % across * kCell;
            const Index image = cell / across / down, place = first + channel;
            for (Index o = 0; o < width; o += kLanes) {
              Vector results[4][4];
              transform_products(products + i * width + o, product_next, results);
              const Vector added = c.bias ? load(c.bias + place + o) : Vector{};
              // No `auto&`, whose type has forgotten that vectors need not be aligned.
              for (int a = 0; a < 4; a++)
                for (int b = 0; b < 4; b++)
                  results[a][b] = c.relu ? positive(results[a][b] + added) : results[a][b] + added;
              if (c.pool)
                pool(results, rows - top, columns - left,
                     c.y + ((image * half_height + top / 2) * half_width + left / 2) * s.outputs + place + o,
                     half_width * s.outputs, s.outputs);
              else
                for (Index a = 0; a < least(kCell, rows - top); a++)
                  for (Index b = 0; b < least(kCell, columns - left); b++)
                    store(c.y + ((image * times * s.height + top + a) * times * s.width + left + b) * s.outputs +
                              place + o,
                          results[a][b]);
            }
          }
        }
      });
    }
    return true;
  }

 private:
  // Stores the largest of each 2x2 pixels, of the first rows and columns of a cell.
  static INLINE void pool(const Vector (&x)[4][4], Index rows, Index columns, float* y, Index next, Index outputs) {
    for (Index a = 0; a < least(kCell, rows); a += 2)
      for (Index b = 0; b < least(kCell, columns); b += 2) {
        const Index below = least(a + 1, rows - 1), right = least(b + 1, columns - 1);
        const Vector above = greater(x[a][b], x[a][right]), under = greater(x[below][b], x[below][right]);
        store(y + a / 2 * next + b / 2 * outputs, greater(above, under));
      }
  }

  // The pixel at a place of the image as it is convolved; -1 for zeros.
  static INLINE Index position(Index i, Index n, Border border) {
    if (kUpsample) return clamp(i >= 0 ? i / 2 : 0, n);
    if (border == Border::kZero) return i < 0 || i >= n ? -1 : i;
    return reflect(i, n);
  }
};

}  // namespace

bool convolve_by_winograd(const Convolution& c) {
  return c.shape.upsample ? Winograd<true>::convolve(c) : Winograd<false>::convolve(c);
}

}  // namespace WCT_ISA
}  // namespace wct
