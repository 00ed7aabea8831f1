// Matrix products of a few rows, whose sums stay in registers.
#ifndef WCT_PRODUCT_H_
#define WCT_PRODUCT_H_

#include "vector.h"

namespace wct {
namespace WCT_ISA {

// sums[p][v] += Σ_k x[p * next + k * step] w[k * width + v]
template <int P, int V>
INLINE void multiply(Vector (&sums)[P][V], const float* x, Index next, Index step, Index depth, const float* w,
                     Index width) {
  for (Index k = 0; k < depth; k++) {
    Vector weights[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) weights[v] = load(w + k * width + v * kLanes);
#pragma GCC unroll 24
    for (int p = 0; p < P; p++) {
      const Vector value = all(x[p * next + k * step]);
#pragma GCC unroll 4
      for (int v = 0; v < V; v++) sums[p][v] += value * weights[v];
    }
  }
}

// Rows of a product: for each p, y[p] = relu?(bias + Σ over taps, and over depth, of x[tap][p] w[tap]).
struct Product {
  int taps;
  const float* x[3];  // By tap.
  Index next;         // From a p to the next, in x.
  Index depth;
  const float* w;  // `[taps, depth, width]`, width being a multiple of kLanes.
  Index width;
  const float* bias;  // `[width]`, or null for zeros.
  bool relu;
  float* y;
  Index row;       // From a p to the next, in y.
  Index channels;  // How many of the last vectors' channels y has.
};

// P rows, V vectors of each. A constant for `next`, if not 0, spares the processor finding addresses.
template <int P, int V, int kNext>
void block(const Product& a, Index p, Index channel) {
  const Index next = kNext ? kNext : a.next;
  Vector sums[P][V];
#pragma GCC unroll 24
  for (int i = 0; i < P; i++)
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) sums[i][v] = a.bias ? load(a.bias + channel + v * kLanes) : Vector{};
  for (int t = 0; t < a.taps; t++)
    multiply<P, V>(sums, a.x[t] + p * next, next, 1, a.depth, a.w + t * a.depth * a.width + channel, a.width);
  const Index rest = a.channels - channel;
#pragma GCC unroll 24
  for (int i = 0; i < P; i++) {
    float* y = a.y + (p + i) * a.row + channel;
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) {
      const Vector sum = a.relu ? positive(sums[i][v]) : sums[i][v];
      if (rest >= (v + 1) * kLanes)
        store(y + v * kLanes, sum);
      else
        memcpy(y + v * kLanes, &sum, bytes(rest - v * kLanes));
    }
  }
}

template <int P, int V, int kNext>
INLINE void blocks(const Product& a, Index& p, Index end, Index channel) {
  for (; p + P <= end; p += P) block<P, V, kNext>(a, p, channel);
}

template <int V, int kNext>
void columns(const Product& a, Index rows, Index channel) {
  constexpr int P = kAccumulators / V;
  Index p = 0;
  blocks<P, V, kNext>(a, p, rows, channel);
  if (p == rows) return;
  if (rows >= P) {
    block<P, V, kNext>(a, rows - P, channel);  // Some rows once more, which is faster than single ones.
    return;
  }
  blocks<divide_up(P, 2), V, 0>(a, p, rows, channel);
  blocks<divide_up(P, 4), V, 0>(a, p, rows, channel);
  blocks<1, V, 0>(a, p, rows, channel);
}

template <int V>
INLINE void columns(const Product& a, Index rows, Index channel) {
  if (a.next == 16)
    columns<V, 16>(a, rows, channel);
  else if (a.next == 32)
    columns<V, 32>(a, rows, channel);
  else
    columns<V, 0>(a, rows, channel);
}

inline void run(const Product& a, Index rows) {
  for (Index channel = 0; channel < a.width;) {
    const Index vectors = (a.width - channel) / kLanes;
    if (vectors >= 4 && kWidest == 4) {
      columns<kWidest, 0>(a, rows, channel);
      channel += 4 * kLanes;
    } else if (vectors >= 2) {
      columns<2>(a, rows, channel);
      channel += 2 * kLanes;
    } else {
      columns<1>(a, rows, channel);
      channel += kLanes;
    }
  }
}

// sums[p][v] += Σ over pixels of x[p] y[v], which are `inputs` and `outputs` apart from pixel to pixel.
template <int P, int V>
void outer(const float* x, Index inputs, const float* y, Index outputs, Index pixels, float* sums, Index width) {
  Vector total[P][V];
#pragma GCC unroll 24
  for (int p = 0; p < P; p++)
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) total[p][v] = load(sums + p * width + v * kLanes);
  multiply<P, V>(total, x, 1, inputs, pixels, y, outputs);
#pragma GCC unroll 24
  for (int p = 0; p < P; p++)
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) store(sums + p * width + v * kLanes, total[p][v]);
}

template <int P, int V>
INLINE void outers(const float* x, Index inputs, const float* y, Index outputs, Index pixels, Index& p, Index depth,
                   float* sums, Index width) {
  for (; p + P <= depth; p += P) outer<P, V>(x + p, inputs, y, outputs, pixels, sums + p * width, width);
}

template <int V>
void outer_columns(const float* x, Index inputs, const float* y, Index outputs, Index pixels, Index depth, float* sums,
                   Index width) {
  constexpr int P = kAccumulators / V;
  Index p = 0;
  outers<P, V>(x, inputs, y, outputs, pixels, p, depth, sums, width);
  outers<P * 2 / 3, V>(x, inputs, y, outputs, pixels, p, depth, sums, width);
  outers<divide_up(P, 3), V>(x, inputs, y, outputs, pixels, p, depth, sums, width);
  outers<1, V>(x, inputs, y, outputs, pixels, p, depth, sums, width);
}

// sums[p][o] += Σ over pixels of x[p] y[o], p < depth, o < columns, a multiple of kLanes; sums are `width` wide.
inline void add_outer(const float* x, Index inputs, const float* y, Index outputs, Index pixels, Index depth,
                      Index columns, float* sums, Index width) {
  for (Index o = 0; o < columns;) {
    const Index vectors = (columns - o) / kLanes;
    if (vectors >= 4 && kWidest == 4) {
      outer_columns<kWidest>(x, inputs, y + o, outputs, pixels, depth, sums + o, width);
      o += 4 * kLanes;
    } else if (vectors >= 2) {
      outer_columns<2>(x, inputs, y + o, outputs, pixels, depth, sums + o, width);
      o += 2 * kLanes;
    } else {
      outer_columns<1>(x, inputs, y + o, outputs, pixels, depth, sums + o, width);
      o += kLanes;
    }
  }
}

// Fill up channels to whole vectors.
inline void pad_row(const float* from, Index channels, float* out, bool add = false) {
  for (Index o = 0; o < channels; o++) out[o] = add ? out[o] + from[o] : from[o];
  for (Index o = channels; o < padded(channels); o++) out[o] = 0;
}

}  // namespace WCT_ISA
}  // namespace wct

#endif
