// Convolutions by all nine products, for few channels: one, or one after another without storing what is between.
#include "stage.h"

namespace wct {
namespace WCT_ISA {
namespace {

// The largest of each 2x2 cell of two rows, which may be the same one; an odd last column makes cells of its own.
void pool_rows(const float* above, const float* below, Index columns, Index channels, float* y) {
  for (Index p = 0; p < columns; p += 2, y += channels) {
    const Index left = p * channels, right = least(p + 1, columns - 1) * channels;
    for (Index c = 0; c < channels; c++) {
      const float a = above[left + c] > above[right + c] ? above[left + c] : above[right + c];
      const float b = below[left + c] > below[right + c] ? below[left + c] : below[right + c];
      y[c] = a > b ? a : b;
    }
  }
}

// Makes all rows of `c` from those of a source, for which `memory` numbers are needed in each thread.
template <class MakeSource>
bool stream(const Convolution& c, const Stage& stage, Index memory, const MakeSource& make_source) {
  const Shape& s = c.shape;
  const Index times = s.upsample ? 2 : 1, cell = c.pool ? 2 : 1;
  const Index height = divide_up(times * s.height, cell), width = divide_up(times * s.width, cell);
  const Index line = stage.columns() * s.outputs, each = memory + (c.pool ? 2 * line : 0);
  // Several tasks for each thread, of so many rows that those above and below count little.
  const Index wanted = divide_up(s.count * stage.rows(), 4 * c.workers.threads);
  const Index rows = 2 * divide_up(least(32, wanted), 2), strips = divide_up(stage.rows(), rows);
  Buffer scratch(c.workers.threads * each);
  if (!stage.ready() || !scratch) return false;
  parallel(c.workers, s.count * strips, [&](Index i, int thread) {
    const Index image = i / strips, first = i % strips * rows, end = least(first + rows, stage.rows());
    float* own = scratch + thread * each;
    float* lines = own + memory;
    auto source = make_source(own);
    source.begin(image, stage.source(first));
    for (Index row = first; row < end; row++) {
      const float* seen[3];
      for (int a = 0; a < 3; a++) seen[a] = source.at(stage.source(row), a);
      if (!c.pool) {
        stage.make(seen, row, c.y + (image * height + row) * width * s.outputs);
        continue;
      }
      stage.make(seen, row, lines + row % 2 * line);
      if (row % 2 || row + 1 == end)
        pool_rows(lines, lines + row % 2 * line, stage.columns(), s.outputs,
                  c.y + (image * height + row / 2) * width * s.outputs);
    }
  });
  return true;
}

}  // namespace

bool convolve_directly(const Convolution& c) {
  const Stage stage(c);
  return stream(c, stage, Rows::floats(c.shape), [&](float* memory) { return Rows(c.shape, c.x, c.border, memory); });
}

bool convolve_both_directly(const Convolution& first, const Convolution& second) {
  const Stage before(first), after(second);
  const Index floats = Rows::floats(first.shape);
  if (!before.ready()) return false;
  return stream(second, after, floats + Ring::floats(before.columns(), before.outputs()), [&](float* memory) {
    return StageRows(before, Rows(first.shape, first.x, first.border, memory), memory + floats);
  });
}

}  // namespace WCT_ISA
}  // namespace wct
