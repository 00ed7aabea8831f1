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

// Three rows that follow each other, with one pixel on either side.
class Ring {
 public:
  Ring(float* memory, Index columns, Index channels)
      : memory_(memory), columns_(columns), channels_(channels), stride_(floats(columns, channels) / 3) {}

  static Index floats(Index columns, Index channels) { return 3 * divide_up((columns + 2) * channels, 16) * 16; }

  float* row(Index row) const { return memory_ + (row + 3) % 3 * stride_; }
  float* inner(Index row) const { return this->row(row) + channels_; }

  void copy(Index from, Index to) const { memcpy(row(to), row(from), bytes((columns_ + 2) * channels_)); }

  void reflect_columns(Index row) const {
    float* pixels = inner(row);
    memcpy(pixels - channels_, pixels + reflect(-1, columns_) * channels_, bytes(channels_));
    memcpy(pixels + columns_ * channels_, pixels + reflect(columns_, columns_) * channels_, bytes(channels_));
  }

 private:
  float* memory_;
  Index columns_, channels_, stride_;
};

// Rows of an image with their border, as a convolution sees them.
class Rows {
 public:
  // Of the upsampled image if `repeated`.
  Rows(const Shape& s, const float* x, Border border, float* memory, bool repeated = false)
      : s_(s), x_(x), border_(border), repeated_(repeated), ring_(memory, (repeated ? 2 : 1) * s.columns, s.inputs) {}

  static Index floats(const Shape& s, bool repeated = false) {
    return Ring::floats((repeated ? 2 : 1) * s.columns, s.inputs);
  }

  // Go to a row of an image.
  void begin(Index image, Index row) {
    image_ = image;
    next_ = row - 1;
  }

  // Row `row - 1`, `row` or `row + 1` for a of 0, 1, 2; `row` never decreases.
  const float* at(Index row, int a) {
    for (; next_ <= row + 1; next_++) {
      if (repeated_)
        copy_repeated(s_, x_, image_, next_, ring_.row(next_));
      else
        copy_row(s_, x_, image_, next_, border_, ring_.row(next_));
    }
    return ring_.row(row + a - 1);
  }

 private:
  const Shape& s_;
  const float* x_;
  Border border_;
  bool repeated_;
  Ring ring_;
  Index image_ = 0, next_ = 0;
};

}  // namespace WCT_ISA
}  // namespace wct

#endif
