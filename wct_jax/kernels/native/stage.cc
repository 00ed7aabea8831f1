#include "stage.h"

namespace wct {
namespace WCT_ISA {
namespace {

// `[3, 3 * inputs, width]`, or for `upsample` `[phase row, phase column, 2, 2 * inputs, width]`.
void pack(const Shape& s, const float* kernel, float* out) {
  Index width = padded(s.outputs);
  if (!s.upsample) {
    for (Index i = 0; i < 9 * s.inputs; i++) pad_row(kernel + i * s.outputs, s.outputs, out + i * width);
    return;
  }
  // A pixel of the first phase sees the pixel before by the first tap and itself by the others.
  for (int py = 0; py < 2; py++)
    for (int px = 0; px < 2; px++)
      for (int a = 0; a < 2; a++)
        for (int b = 0; b < 2; b++)
          for (Index i = 0; i < s.inputs; i++) {
            bool add = false;
            for (int u = 0; u < 3; u++)
              for (int v = 0; v < 3; v++)
                if ((u + 1 + py) / 2 - py == a && (v + 1 + px) / 2 - px == b) {
                  pad_row(kernel + ((u * 3 + v) * s.inputs + i) * s.outputs, s.outputs, out, add);
                  add = true;
                }
            out += width;
          }
}

// ---- A few outputs: lanes are inputs, summed up at the end.

constexpr Index kFew = 4;

typedef float Quad __attribute__((vector_size(16)));

INLINE Quad quarter(Vector v) {
  Quad quads[kLanes / 4];
  memcpy(quads, &v, sizeof v);
  Quad total = quads[0];
  for (int i = 1; i < kLanes / 4; i++) total += quads[i];
  return total;
}

INLINE Quad pairs(Quad a, Quad b) {
  return __builtin_shufflevector(a, b, 0, 2, 4, 6) + __builtin_shufflevector(a, b, 1, 3, 5, 7);
}

// y[p][o] for P pixels and O outputs.
template <int P, int O>
INLINE void dots(const float* const* x, Index next, Index depth, const float* w, const float* bias, bool relu,
                 float* y) {
  Vector sums[P][O] = {};
  for (int t = 0; t < 3; t++)
    for (Index k = 0; k < depth; k += kLanes) {
      Vector weights[O];
      for (int o = 0; o < O; o++) weights[o] = load(w + (o * 3 + t) * depth + k);
#pragma GCC unroll 8
      for (int p = 0; p < P; p++) {
        Vector value = load(x[t] + p * next + k);
        for (int o = 0; o < O; o++) sums[p][o] += value * weights[o];
      }
    }
  // The lanes of four pixels at once.
  for (int p = 0; p < P; p += 4)
    for (int o = 0; o < O; o++) {
      const auto of = [&](int i) { return quarter(sums[p + i < P ? p + i : p][o]); };
      Quad total = pairs(pairs(of(0), of(1)), pairs(of(2), of(3))) + bias[o];
      if (relu) total = total < 0 ? Quad{} : total;
      for (int i = 0; i < least(4, P - p); i++) y[(p + i) * O + o] = total[i];
    }
}

template <int O>
void make_few(const float* const (&seen)[3], Index n, Index columns, const float* weights, const float* bias, bool relu,
              float* y) {
  for (Index p = 0; p < columns; p += p + 4 <= columns ? 4 : 1) {
    const float* from[3] = {seen[0] + p * n, seen[1] + p * n, seen[2] + p * n};
    if (p + 4 <= columns)
      dots<4, O>(from, n, 3 * n, weights, bias, relu, y + p * O);
    else
      dots<1, O>(from, n, 3 * n, weights, bias, relu, y + p * O);
  }
}

bool is_few(const Shape& s) { return s.outputs <= kFew && 3 * s.inputs % kLanes == 0 && !s.upsample; }

}  // namespace

Stage::Stage(const Convolution& c)
    : s_(c.shape),
      relu_(c.relu),
      few_(is_few(c.shape)),
      weights_((s_.upsample ? 16 : 9) * s_.inputs * (few_ ? s_.outputs : padded(s_.outputs))),
      bias_(padded(s_.outputs)) {
  if (!ready()) return;
  memset(bias_, 0, bytes(padded(s_.outputs)));
  if (c.bias) memcpy(bias_, c.bias, bytes(s_.outputs));
  if (!few_) pack(s_, c.kernel, weights_);
  for (Index i = 0; few_ && i < 9 * s_.inputs; i++)
    for (Index o = 0; o < s_.outputs; o++) weights_[o * 9 * s_.inputs + i] = c.kernel[i * s_.outputs + o];
}

void Stage::make(const float* const (&seen)[3], Index row, float* y) const {
  const Index n = s_.inputs, width = padded(s_.outputs);
  if (few_) switch (s_.outputs) {
      case 1:
        return make_few<1>(seen, n, s_.columns, weights_, bias_, relu_, y);
      case 2:
        return make_few<2>(seen, n, s_.columns, weights_, bias_, relu_, y);
      case 3:
        return make_few<3>(seen, n, s_.columns, weights_, bias_, relu_, y);
      default:
        return make_few<4>(seen, n, s_.columns, weights_, bias_, relu_, y);
    }
  Product product = {};
  product.width = width, product.bias = bias_, product.relu = relu_, product.next = n, product.channels = s_.outputs;
  if (!s_.upsample) {
    product.taps = 3, product.depth = 3 * n, product.row = s_.outputs, product.w = weights_, product.y = y;
    for (int a = 0; a < 3; a++) product.x[a] = seen[a];
    return run(product, s_.columns);
  }
  // Four kernels of 2x2 taps, for even and odd rows and columns.
  const Index odd = row % 2;
  product.taps = 2, product.depth = 2 * n, product.row = 2 * s_.outputs;
  for (Index px = 0; px < 2; px++) {
    for (Index a = 0; a < 2; a++) product.x[a] = seen[a + odd] + px * n;
    product.w = weights_ + (2 * odd + px) * 4 * n * width;
    product.y = y + px * s_.outputs;
    run(product, s_.columns);
  }
}

}  // namespace WCT_ISA
}  // namespace wct
