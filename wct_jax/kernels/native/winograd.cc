#include "winograd.h"

#include "product.h"

namespace wct {
namespace WCT_ISA {
namespace {

// Stores the largest of each 2x2 pixels, of the first rows and columns of a cell.
INLINE void pool(const Vector (&x)[4][4], Index rows, Index columns, float* y, Index next, Index outputs) {
  for (Index a = 0; a < least(kCell, rows); a += 2)
    for (Index b = 0; b < least(kCell, columns); b += 2) {
      const Index below = least(a + 1, rows - 1), right = least(b + 1, columns - 1);
      const Vector above = greater(x[a][b], x[a][right]), under = greater(x[below][b], x[below][right]);
      store(y + a / 2 * next + b / 2 * outputs, greater(above, under));
    }
}

template <bool kUpsample>
bool convolve_cells(const Convolution& c) {
  using Transforms = Winograd<kUpsample>;
  constexpr int kProducts = Transforms::kProducts;
  const Shape& s = c.shape;
  constexpr Index kBlock = kWidest * kLanes, kKernelNumbers = Index{1} << 22, kCellNumbers = Index{3} << 17;
  const Index times = kUpsample ? 2 : 1, n = s.inputs;
  const Index rows = times * s.rows, columns = times * s.columns;
  const Index half_height = divide_up(times * s.height, 2), half_width = divide_up(times * s.width, 2);
  const Grid grid(s);
  const Index cells = grid.cells;
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
    parallel(
        c.workers, divide_up(outputs, kBlock) * parts,
        [&](Index i, int) {
          const Index channel = i / parts * kBlock, from = i % parts * 16;
          Transforms::transform_kernel(s, c.kernel + first + channel, from, least(from + 16, n),
                                       least(kBlock, outputs - channel), kernels + kProducts * n * channel);
        },
        n * outputs > Index{1} << 12);
    parallel(c.workers, divide_up(cells, size), [&](Index chunk, int thread) {
      float* image = memory + thread * floats;
      float* products = image + kProducts * image_next;
      const Index begin = chunk * size, count = least(size, cells - begin);
      for (Index i = 0; i < count; i++) {
        Transforms::transform_cell(s, c.x, c.border, zeros, grid, begin + i, image + i * n, image_next);
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
          const Index top = grid.top(begin + i), left = grid.left(begin + i);
          const Index image = grid.image(begin + i), place = first + channel;
          for (Index o = 0; o < width; o += kLanes) {
            Vector results[4][4];
            Transforms::transform_products(products + i * width + o, product_next, results);
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
                  store(
                      c.y + ((image * times * s.height + top + a) * times * s.width + left + b) * s.outputs + place + o,
                      results[a][b]);
          }
        }
      }
    });
  }
  return true;
}

}  // namespace

bool convolve_by_winograd(const Convolution& c) {
  return c.shape.upsample ? convolve_cells<true>(c) : convolve_cells<false>(c);
}

bool kernel_gradient_by_winograd(const Workers& workers, const Shape& s, const float* x, const float* y,
                                 float* kernel) {
  using Transforms = Winograd<false>;  // The more exact one.
  constexpr int kSide = Transforms::kSide, kProducts = Transforms::kProducts;
  constexpr Index kCellNumbers = Index{1} << 22, kPart = 32;
  const Index n = s.inputs, m = s.outputs;
  const Grid grid(s);
  const Index size = least(grid.cells, most(32, kCellNumbers / (kProducts * (n + m))));
  const Index image_next = size * n + 16, gradient_next = size * m + 16;
  Buffer images(kProducts * image_next), gradients(kProducts * gradient_next), sums(kProducts * n * m);
  if (!images || !gradients || !sums) return false;
  memset(sums, 0, bytes(kProducts * n * m));
  for (Index first = 0; first < grid.cells; first += size) {
    const Index count = least(size, grid.cells - first);
    parallel(workers, divide_up(count, 4), [&](Index part, int) {
      for (Index i = 4 * part; i < least(4 * part + 4, count); i++) {
        Transforms::transform_cell(s, x, Border::kReflect, nullptr, grid, first + i, images + i * n, image_next);
        Transforms::transform_gradient(s, y, grid, first + i, gradients + i * m, gradient_next);
      }
    });
    // Each sum by one task, so that the result does not depend on the threads.
    const Index parts = divide_up(n, kPart);
    parallel(workers, kProducts * parts, [&](Index i, int) {
      const Index product = i / parts, from = i % parts * kPart;
      add_outer(images + product * image_next + from, n, gradients + product * gradient_next, m, count,
                least(kPart, n - from), m, sums + (product * n + from) * m, m);
    });
  }
  parallel(workers, n, [&](Index i, int) {
    for (Index o = 0; o < m; o += kLanes) {
      Vector rows[3][kSide];
      for (int g = 0; g < kSide; g++) {
        Vector column[kSide], taps[3];
        for (int f = 0; f < kSide; f++) column[f] = load(sums + ((f * kSide + g) * n + i) * m + o);
        Transforms::to_taps(column, taps);
        for (int t = 0; t < 3; t++) rows[t][g] = taps[t];
      }
      for (int t = 0; t < 3; t++) {
        Vector taps[3];
        Transforms::to_taps(rows[t], taps);
        for (int u = 0; u < 3; u++) store(kernel + ((t * 3 + u) * n + i) * m + o, taps[u]);
      }
    }
  });
  return true;
}

}  // namespace WCT_ISA
}  // namespace wct
