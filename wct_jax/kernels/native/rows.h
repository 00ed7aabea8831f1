// Rows of images with their borders.
#ifndef WCT_ROWS_H_
#define WCT_ROWS_H_

#include "convolution.h"
#include "vector.h"

namespace wct {
namespace WCT_ISA {

// A row of an image with one pixel on either side; zeros if there is no such row.
inline void copy_row(const Shape& s, const float* x, Index image, Index row, Border border, float* out) {
  const Index n = s.inputs;
  float* last = out + (s.columns + 1) * n;
  if (border == Border::kZero) {
    memset(out, 0, bytes(n));
    memset(last, 0, bytes(n));
    if (row < 0 || row >= s.rows) {
      memset(out + n, 0, bytes(s.columns * n));
      return;
    }
  }
  // Once upsampled, the pixel next to the border equals the one that it reflects.
  const Index shown = s.upsample ? clamp(row, s.rows) : reflect(row, s.rows);
  const float* from = x + (image * s.height + shown) * s.width * n;
  memcpy(out + n, from, bytes(s.columns * n));
  if (border == Border::kReflect) {
    memcpy(out, from + (s.upsample ? 0 : reflect(-1, s.columns)) * n, bytes(n));
    memcpy(last, from + (s.upsample ? s.columns - 1 : reflect(s.columns, s.columns)) * n, bytes(n));
  }
}

// A row of an upsampled image with one pixel on either side.
inline void copy_repeated(const Shape& s, const float* x, Index image, Index row, float* out) {
  const float* from = x + (image * s.height + clamp(row < 0 ? -1 : row / 2, s.rows)) * s.width * s.inputs;
  for (Index p = -1; p <= 2 * s.columns; p++)
    memcpy(out + (p + 1) * s.inputs, from + clamp(p < 0 ? -1 : p / 2, s.columns) * s.inputs, bytes(s.inputs));
}

// Rows of one image with their borders, three at a time.
class Rows {
 public:
  // Of the upsampled image if `repeated`.
  Rows(const Shape& s, const float* x, Border border, float* memory, bool repeated = false)
      : s_(s), x_(x), border_(border), memory_(memory), repeated_(repeated) {}

  static Index floats(const Shape& s) { return 3 * stride(s); }  // Enough for a repeated one if `s.upsample`.

  void begin(Index image, Index row) {
    image_ = image;
    next_ = row - 1;
  }

  // Row `row - 1`, `row` or `row + 1` for a of 0, 1, 2; `row` never decreases.
  const float* at(Index row, int a) {
    for (; next_ <= row + 1; next_++) {
      if (repeated_)
        copy_repeated(s_, x_, image_, next_, memory_ + slot(next_));
      else
        copy_row(s_, x_, image_, next_, border_, memory_ + slot(next_));
    }
    return memory_ + slot(row + a - 1);
  }

 private:
  static Index stride(const Shape& s) {
    return divide_up(((s.upsample ? 2 : 1) * s.columns + 2) * s.inputs, 16) * 16;
  }
  Index slot(Index row) const { return (row + 3) % 3 * stride(s_); }

  const Shape& s_;
  const float* x_;
  Border border_;
  float* memory_;
  bool repeated_;
  Index image_ = 0, next_ = 0;
};

// Rows that a task takes, so that there are several tasks for each thread and the rows above and below count little.
inline Index strip(const Workers& workers, const Shape& s) {
  const Index tasks = 4 * workers.threads;
  return clamp(divide_up(s.count * s.rows, tasks) - 1, 16) + 1;
}

struct Task {
  Index image, row, end;
};

INLINE Task task_of(const Shape& s, Index rows, Index i) {
  Index strips = divide_up(s.rows, rows);
  Index row = i % strips * rows;
  return {i / strips, row, least(row + rows, s.rows)};
}

}  // namespace WCT_ISA
}  // namespace wct

#endif
