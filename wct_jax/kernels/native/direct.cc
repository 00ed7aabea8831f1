// Convolutions by all nine products, for few channels.
#include "convolution.h"
#include "product.h"
#include "rows.h"

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

// y[p][o] for P pixels and O outputs: lanes are inputs, summed up at the end.
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
      if (relu) total = total > 0 ? total : Quad{};
      for (int i = 0; i < least(4, P - p); i++) y[(p + i) * O + o] = total[i];
    }
}

template <int O>
bool convolve_to(const Convolution& c) {
  const Shape& s = c.shape;
  const Index n = s.inputs, rows = strip(c.workers, s);
  Buffer weights(O * 9 * n), memory(c.workers.threads * Rows::floats(s));
  if (!weights || !memory) return false;
  for (Index i = 0; i < 9 * n; i++)
    for (int o = 0; o < O; o++) weights[o * 9 * n + i] = c.kernel[i * O + o];
  parallel(c.workers, s.count * divide_up(s.rows, rows), [&](Index i, int thread) {
    const Task task = task_of(s, rows, i);
    Rows ring(s, c.x, c.border, memory + thread * Rows::floats(s));
    ring.begin(task.image, task.row);
    for (Index row = task.row; row < task.end; row++) {
      const float* seen[3];
      for (int a = 0; a < 3; a++) seen[a] = ring.at(row, a);
      float* out = c.y + (task.image * s.height + row) * s.width * O;
      Index p = 0;
      for (; p < s.columns; p += p + 4 <= s.columns ? 4 : 1) {
        const float* from[3] = {seen[0] + p * n, seen[1] + p * n, seen[2] + p * n};
        if (p + 4 <= s.columns)
          dots<4, O>(from, n, 3 * n, weights, c.bias, c.relu, out + p * O);
        else
          dots<1, O>(from, n, 3 * n, weights, c.bias, c.relu, out + p * O);
      }
    }
  });
  return true;
}

}  // namespace

bool convolve_to_few(const Convolution& c) {
  switch (c.shape.outputs) {
    case 1: return convolve_to<1>(c);
    case 2: return convolve_to<2>(c);
    case 3: return convolve_to<3>(c);
    default: return convolve_to<4>(c);
  }
}

bool convolve_directly(const Convolution& c) {
  const Shape& s = c.shape;
  const Index n = s.inputs, width = padded(s.outputs), rows = strip(c.workers, s);
  Buffer weights((s.upsample ? 16 : 9) * n * width), bias(width), memory(c.workers.threads * Rows::floats(s));
  if (!weights || !bias || !memory) return false;
  pack(s, c.kernel, weights);
  if (c.bias) pad_row(c.bias, s.outputs, bias);
  parallel(c.workers, s.count * divide_up(s.rows, rows), [&](Index i, int thread) {
    const Task task = task_of(s, rows, i);
    Rows ring(s, c.x, c.border, memory + thread * Rows::floats(s));
    ring.begin(task.image, task.row);
    Product product = {};
    product.w = weights, product.width = width, product.bias = c.bias ? static_cast<float*>(bias) : nullptr, product.relu = c.relu;
    product.next = n, product.channels = s.outputs;
    for (Index row = task.row; row < task.end; row++) {
      const float* seen[3];
      for (int a = 0; a < 3; a++) seen[a] = ring.at(row, a);
      if (!s.upsample) {
        product.taps = 3, product.depth = 3 * n, product.row = s.outputs;
        for (int a = 0; a < 3; a++) product.x[a] = seen[a];
        product.y = c.y + (task.image * s.height + row) * s.width * s.outputs;
        run(product, s.columns);
        continue;
      }
      product.taps = 2, product.depth = 2 * n, product.row = 2 * s.outputs;
      for (int py = 0; py < 2; py++)
        for (int px = 0; px < 2; px++) {
          for (int a = 0; a < 2; a++) product.x[a] = seen[a + py] + px * n;
          product.w = weights + (2 * py + px) * 4 * n * width;
          product.y = c.y + ((task.image * 2 * s.height + 2 * row + py) * 2 * s.width + px) * s.outputs;
          run(product, s.columns);
        }
    }
  });
  return true;
}

}  // namespace WCT_ISA
}  // namespace wct
