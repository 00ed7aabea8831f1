// Count, mean and scatter of the pixels of features.
#include "product.h"

namespace wct {
namespace WCT_ISA {
namespace {

// Moments of some rows of an image: weight, mean `[channels]` as a rounded number and the rest, and scatter
// `[channels, width]` about the rounded one.
struct Part {
  double weight;
  float* rounded;
  float* rest;
  float* scatter;

  double mean(Index c) const { return static_cast<double>(rounded[c]) + rest[c]; }
};

// Σ w and Σ w (x - first x) over rows of pixels; the latter in double precision, whose own rows are summed in single
// precision: exactly for a flat feature, and accurately for a nearly flat one.
double sum_rows(const float* x, const float* weights, Index rows, Index columns, Index channels, float* row,
                double* sums) {
  double weight = 0;
  for (Index r = 0; r < rows; r++) {
    memset(row, 0, bytes(channels));
    for (Index p = 0; p < columns; p++) {
      const float w = weights[r * columns + p];
      const float* pixel = x + (r * columns + p) * channels;
      weight += w;
      for (Index c = 0; c < channels; c++) row[c] += w * (pixel[c] - x[c]);
    }
    for (Index c = 0; c < channels; c++) sums[c] += row[c];
  }
  return weight;
}

}  // namespace

bool moments(const Workers& workers, const Shape& s, const float* x, const float* weights, float* count, float* mean,
             float* scatter) {
  constexpr Index kCached = Index{1} << 16, kScatters = Index{1} << 22, kChain = 512;
  const Index n = s.inputs, width = padded(n), floats = 2 * n + n * width;
  const Index most_parts = most(1, least(64, kScatters / (s.count * floats)));
  const Index rows = most(divide_up(s.height, most_parts), most(1, least(s.height, kCached / (s.width * n))));
  const Index parts = divide_up(s.height, rows);
  // Sums of more pixels are added up in two steps, since each of many additions to a large number rounds the same way.
  const bool in_two = rows * s.width > kChain;
  const Index piece = least(s.width, kChain);
  const Index stride = divide_up(2 * n + piece * (n + width) + (in_two ? n * width : 0), 16) * 16;
  Buffer memory(s.count * parts * floats), scratch(workers.threads * stride);
  Buffer doubles(2 * (s.count * parts + s.count * n) + 2);
  if (!memory || !scratch || !doubles) return false;
  double* part_weights = reinterpret_cast<double*>(static_cast<float*>(doubles));
  double* means = part_weights + s.count * parts;
  const auto part = [&](Index i) {
    float* own = memory + i * floats;
    return Part{part_weights[i], own, own + n, own + 2 * n};
  };

  parallel(workers, s.count * parts, [&](Index i, int thread) {
    const Index row = i % parts * rows, height = least(rows, s.height - row), first = i / parts * s.height + row;
    const float* from = x + first * s.width * n;
    const float* w = weights + first * s.width;
    double* sums = reinterpret_cast<double*>(scratch + thread * stride);
    float* centered = scratch + thread * stride + 2 * n;
    float* weighted = centered + piece * n;
    const Part own = part(i);
    memset(sums, 0, static_cast<size_t>(n) * sizeof(double));
    const double weight = part_weights[i] = sum_rows(from, w, height, s.width, n, centered, sums);
    for (Index c = 0; c < n; c++) {
      const double mean = weight > 0 ? from[c] + sums[c] / weight : 0;
      own.rounded[c] = static_cast<float>(mean);
      own.rest[c] = static_cast<float>(mean - own.rounded[c]);
    }
    float* recent = in_two ? weighted + piece * width : own.scatter;
    memset(own.scatter, 0, bytes(n * width));
    if (in_two) memset(recent, 0, bytes(n * width));
    Index waiting = 0;
    for (Index q = 0, pixels = height * s.width; q < pixels; q += piece) {
      const Index number = least(piece, pixels - q);
      for (Index p = 0; p < number; p++) {
        const float* pixel = from + (q + p) * n;
        const float factor = w[q + p];
        for (Index c = 0; c < n; c++) {
          const float difference = pixel[c] - own.rounded[c];
          centered[p * n + c] = difference;
          weighted[p * width + c] = factor * difference;
        }
        for (Index c = n; c < width; c++) weighted[p * width + c] = 0;
      }
      add_outer(centered, n, weighted, width, number, n, width, recent, width);
      waiting += number;
      if (!in_two || (waiting < kChain && q + piece < pixels)) continue;
      for (Index c = 0; c < n * width; c++) own.scatter[c] += recent[c], recent[c] = 0;
      waiting = 0;
    }
  });

  for (Index image = 0; image < s.count; image++) {
    double total = 0;
    double* sums = means + image * n;
    memset(sums, 0, static_cast<size_t>(n) * sizeof(double));
    for (Index i = image * parts; i < (image + 1) * parts; i++) {
      total += part_weights[i];
      for (Index c = 0; c < n; c++) sums[c] += part_weights[i] * part(i).mean(c);
    }
    // Fewer count as none: a division by them would overflow.
    const bool counted = total > 1e-12;
    count[image] = counted ? static_cast<float>(total) : 0;
    for (Index c = 0; c < n; c++) mean[image * n + c] = static_cast<float>(sums[c] = counted ? sums[c] / total : 0);
    if (!counted) part_weights[image * parts] = -1;
  }

  // Σ S_i + w_i (d_i d_iᵀ - r_i r_iᵀ), where d_i are the parts' means less the whole's, and r_i the rests, which S_i has
  // too much: Chan, Golub and LeVeque, 1979.
  parallel(workers, s.count * n, [&](Index i, int) {
    const Index image = i / n, c = i % n;
    float* out = scatter + i * n;
    memset(out, 0, bytes(n));
    if (part_weights[image * parts] < 0) return;
    const double* whole = means + image * n;
    for (Index each = image * parts; each < (image + 1) * parts; each++) {
      const Part own = part(each);
      const float* sums = own.scatter + c * width;
      const float factor = static_cast<float>(own.weight * (own.mean(c) - whole[c]));
      const float less = static_cast<float>(own.weight * own.rest[c]);
      for (Index o = 0; o < n; o++)
        out[o] += sums[o] + factor * static_cast<float>(own.mean(o) - whole[o]) - less * own.rest[o];
    }
  });
  return true;
}

}  // namespace WCT_ISA
}  // namespace wct
