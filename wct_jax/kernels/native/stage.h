// A convolution by all nine products, row by row.
#ifndef WCT_STAGE_H_
#define WCT_STAGE_H_

#include "product.h"
#include "rows.h"

namespace wct {
namespace WCT_ISA {

class Stage {
 public:
  explicit Stage(const Convolution& c);

  bool ready() const { return weights_ && bias_; }

  // Makes a row of the result, all `columns()` pixels, from the rows around row `source(row)` of the image.
  void make(const float* const (&seen)[3], Index row, float* y) const;

  Index source(Index row) const { return s_.upsample ? row / 2 : row; }
  Index rows() const { return (s_.upsample ? 2 : 1) * s_.rows; }
  Index columns() const { return (s_.upsample ? 2 : 1) * s_.columns; }
  Index outputs() const { return s_.outputs; }

 private:
  const Shape s_;
  const bool relu_, few_;
  const Buffer weights_, bias_;
};

// Rows that a stage makes, with their border, as another one sees them: like `Rows`.
class StageRows {
 public:
  StageRows(const Stage& stage, Rows below, float* memory)
      : stage_(stage), below_(below), ring_(memory, stage.columns(), stage.outputs()) {}

  void begin(Index image, Index row) {
    below_.begin(image, stage_.source(row > 0 ? row - 1 : 0));
    next_ = row - 1;
    if (row > 0) return;
    // The row above the first one shows the second one.
    next_ = 0;
    while (next_ < least(2, stage_.rows())) make(next_++);
    ring_.copy(reflect(-1, stage_.rows()), -1);
  }

  const float* at(Index row, int a) {
    for (; next_ <= row + 1; next_++) make(next_);
    return ring_.row(row + a - 1);
  }

 private:
  void make(Index row) {
    if (row == stage_.rows()) return ring_.copy(reflect(row, row), row);
    const float* seen[3];
    for (int a = 0; a < 3; a++) seen[a] = below_.at(stage_.source(row), a);
    stage_.make(seen, row, ring_.inner(row));
    ring_.reflect_columns(row);
  }

  const Stage& stage_;
  Rows below_;
  Ring ring_;
  Index next_ = 0;
};

}  // namespace WCT_ISA
}  // namespace wct

#endif
