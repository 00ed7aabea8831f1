// Calls the kernels without Python and XLA, for the sanitizers: .ci/sanitize.sh compiles and runs it.
// Shapes are random. Every array has a heap block of exactly its size, so that any access beside it is seen; results
// are compared with plain sums in double precision. The argument says how often to try each function.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "kernels.h"

namespace {

using wct::Index;
using Floats = std::unique_ptr<float[]>;
using Doubles = std::vector<double>;

std::mt19937 generator(0);

Index number(Index least, Index most) { return std::uniform_int_distribution<Index>(least, most)(generator); }

Floats numbers(Index count, bool positive = false) {
  Floats values(new float[count]);
  for (Index i = 0; i < count; i++) values[i] = std::normal_distribution<float>()(generator);
  for (Index i = 0; positive && i < count; i++) values[i] = number(0, 2) ? std::abs(values[i]) : 0;
  return values;
}

// Starts threads for each call, which take the tasks in turn.
void share(void*, Index tasks, void (*task)(void*, Index, int), void* data) {
  std::atomic<Index> next{0};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 3; thread++)
    threads.emplace_back([&, thread] {
      for (Index i = next++; i < tasks; i = next++) task(data, i, thread);
    });
  for (auto& thread : threads) thread.join();
}

const wct::Workers workers{3, nullptr, share};

// A convolution in double precision, by whose taps everything else is defined, too.
struct Reference {
  wct::Shape s;
  Index times = s.upsample ? 2 : 1, height = times * s.height, width = times * s.width, rows = times * s.rows,
        columns = times * s.columns;

  static Index reflected(Index i, Index n) { return n == 1 ? 0 : i < 0 ? -i : i >= n ? 2 * n - 2 - i : i; }

  // Calls f(index of a pixel of y, of x, of the kernel's tap) for all products of pixels.
  template <class F>
  void each(F f) const {
    for (Index image = 0; image < s.count; image++)
      for (Index row = 0; row < rows; row++)
        for (Index column = 0; column < columns; column++)
          for (Index a = 0; a < 3; a++)
            for (Index b = 0; b < 3; b++)
              f((image * height + row) * width + column,
                (image * s.height + reflected(row + a - 1, rows) / times) * s.width +
                    reflected(column + b - 1, columns) / times,
                a * 3 + b);
  }

  template <class Number>
  Doubles convolve(const Number* x, const float* kernel, const float* bias, bool relu) const {
    Doubles y(s.count * height * width * s.outputs);
    each([&](Index to, Index from, Index tap) {
      for (Index i = 0; i < s.inputs; i++)
        for (Index o = 0; o < s.outputs; o++)
          y[to * s.outputs + o] +=
              static_cast<double>(x[from * s.inputs + i]) * kernel[(tap * s.inputs + i) * s.outputs + o];
    });
    for (Index p = 0; p < s.count * height * width; p++)
      for (Index o = 0; o < s.outputs; o++) {
        double& value = y[p * s.outputs + o];
        value = p / width % height < rows && p % width < columns ? value + bias[o] : 0;
        if (relu) value = std::max(value, 0.0);
      }
    return y;
  }

  Doubles pool(const Doubles& y) const {
    const Index down = (height + 1) / 2, across = (width + 1) / 2;
    Doubles pooled(s.count * down * across * s.outputs);
    for (Index p = 0; p < s.count * down * across; p++)
      for (Index o = 0; o < s.outputs; o++) {
        const Index row = p / across % down * 2, column = p % across * 2;
        if (row >= rows || column >= columns) continue;
        double& most = pooled[p * s.outputs + o] = -1e30;
        for (Index r = row; r < std::min(row + 2, rows); r++)
          for (Index c = column; c < std::min(column + 2, columns); c++)
            most = std::max(most, y[((p / across / down * height + r) * width + c) * s.outputs + o]);
      }
    return pooled;
  }
};

void expect(bool enough, const Floats& found, const Doubles& expected, const char* name, const wct::Shape& s) {
  double largest = 0.1, off = 0;
  for (size_t i = 0; i < expected.size(); i++) {
    largest = std::max(largest, std::abs(expected[i]));
    const double difference = std::abs(found[i] - expected[i]);
    off = difference <= off ? off : difference;  // Also what is not a number.
  }
  if (enough && off <= 2e-5 * largest) return;
  std::fprintf(stderr, "%s is off by %g of %g: %td of %td x %td, image %td x %td, channels %td to %td%s\n", name, off,
               largest, s.count, s.height, s.width, s.rows, s.columns, s.inputs, s.outputs,
               s.upsample ? ", upsampled" : "");
  std::exit(1);
}

Index channels() {
  const Index some[] = {1, 2, 3, 4, 7, 8, 15, 16, 17, 24, 31, 32, 33, 48, 64, 80};
  return some[number(0, 15)];
}

wct::Shape shape() {
  wct::Shape s{number(1, 3), number(1, 14), number(1, 14), 0, 0, channels(), channels(), number(0, 2) == 0};
  s.rows = number(0, 1) ? s.height : number(1, s.height);
  s.columns = number(0, 1) ? s.width : number(1, s.width);
  return s;
}

void try_convolutions(const wct::Kernels& kernels) {
  const wct::Shape s = shape();
  const Reference reference{s};
  const bool relu = number(0, 1), pool = number(0, 1);
  const Floats x = numbers(s.count * s.height * s.width * s.inputs);
  const Floats kernel = numbers(9 * s.inputs * s.outputs), bias = numbers(s.outputs);
  Doubles expected = reference.convolve(x.get(), kernel.get(), bias.get(), relu);
  if (pool) expected = reference.pool(expected);
  Floats y(new float[expected.size()]);
  bool enough = kernels.convolve(workers, s, x.get(), kernel.get(), bias.get(), relu, pool, y.get());
  expect(enough, y, expected, pool ? "convolve, pooled" : "convolve", s);

  const Reference next{{s.count, reference.height, reference.width, reference.rows, reference.columns, s.outputs,
                        channels(), false}};
  const Index outputs = next.s.outputs;
  const Floats next_kernel = numbers(9 * s.outputs * outputs), next_bias = numbers(outputs);
  const Doubles between = reference.convolve(x.get(), kernel.get(), bias.get(), true);
  expected = next.convolve(between.data(), next_kernel.get(), next_bias.get(), relu);
  if (pool) expected = next.pool(expected);
  y.reset(new float[expected.size()]);
  enough = kernels.convolve_both(workers, s, x.get(), kernel.get(), bias.get(), outputs, next_kernel.get(),
                                 next_bias.get(), relu, pool, y.get());
  expect(enough, y, expected, pool ? "convolve_both, pooled" : "convolve_both", s);
}

void try_gradients(const wct::Kernels& kernels) {
  wct::Shape s = shape();
  const Index times = s.upsample ? 2 : 1;
  const Floats x = numbers(s.count * s.height * s.width * s.inputs);
  Floats y = numbers(s.count * times * s.height * times * s.width * s.outputs);
  const Floats kernel = numbers(9 * s.inputs * s.outputs);
  Doubles expected(9 * s.inputs * s.outputs);
  Reference{s}.each([&](Index to, Index from, Index tap) {
    for (Index i = 0; i < s.inputs; i++)
      for (Index o = 0; o < s.outputs; o++)
        expected[(tap * s.inputs + i) * s.outputs + o] +=
            static_cast<double>(x[from * s.inputs + i]) * y[to * s.outputs + o];
  });
  Floats found(new float[expected.size()]);
  expect(kernels.kernel_gradient(workers, s, x.get(), y.get(), found.get()), found, expected, "kernel_gradient", s);

  s.upsample = false;
  y = numbers(s.count * s.height * s.width * s.outputs);
  expected.assign(s.count * s.height * s.width * s.inputs, 0);
  Reference{s}.each([&](Index to, Index from, Index tap) {
    for (Index i = 0; i < s.inputs; i++)
      for (Index o = 0; o < s.outputs; o++)
        expected[from * s.inputs + i] +=
            static_cast<double>(y[to * s.outputs + o]) * kernel[(tap * s.inputs + i) * s.outputs + o];
  });
  found.reset(new float[expected.size()]);
  expect(kernels.image_gradient(workers, s, y.get(), kernel.get(), found.get()), found, expected, "image_gradient", s);
}

void try_moments(const wct::Kernels& kernels) {
  wct::Shape s = shape();
  // Many pixels in a row, at times.
  if (number(0, 3) == 0) s.width = number(500, 1100);
  const Index pixels = s.height * s.width, n = s.inputs;
  const Floats x = numbers(s.count * pixels * n), weights = numbers(s.count * pixels, true);
  Doubles counts, means, scatters;
  for (Index image = 0; image < s.count; image++) {
    const float* from = x.get() + image * pixels * n;
    const float* w = weights.get() + image * pixels;
    double count = 0;
    Doubles mean(n), scatter(n * n);
    for (Index p = 0; p < pixels; p++) count += w[p];
    for (Index i = 0; i < pixels * n && count > 0; i++) mean[i % n] += w[i / n] * static_cast<double>(from[i]) / count;
    for (Index p = 0; p < pixels; p++)
      for (Index i = 0; i < n; i++)
        for (Index j = 0; j < n; j++)
          scatter[i * n + j] += w[p] * (from[p * n + i] - mean[i]) * (from[p * n + j] - mean[j]);
    counts.push_back(count);
    means.insert(means.end(), mean.begin(), mean.end());
    scatters.insert(scatters.end(), scatter.begin(), scatter.end());
  }
  Floats count(new float[counts.size()]), mean(new float[means.size()]), scatter(new float[scatters.size()]);
  const bool enough = kernels.moments(workers, s, x.get(), weights.get(), count.get(), mean.get(), scatter.get());
  expect(enough, count, counts, "moments, count", s);
  expect(enough, mean, means, "moments, mean", s);
  expect(enough, scatter, scatters, "moments, scatter", s);
}

void try_map(const wct::Kernels& kernels) {
  const wct::Shape s = shape();
  const Index pixels = s.height * s.width, n = s.inputs;
  Floats x = numbers(s.count * pixels * n), y(new float[s.count * pixels * n]);
  const Floats strength = numbers(s.count * pixels, true), mean = numbers(s.count * n);
  const Floats matrix = numbers(s.count * n * n), target = numbers(s.count * n);
  Doubles expected(s.count * pixels * n);
  for (Index p = 0; p < s.count * pixels; p++) {
    const Index image = p / pixels;
    for (Index o = 0; o < n; o++) {
      double sum = target[image * n + o];
      for (Index i = 0; i < n; i++)
        sum += static_cast<double>(matrix[(image * n + o) * n + i]) * (x[p * n + i] - mean[image * n + i]);
      expected[p * n + o] = strength[p] * sum + (1.0 - strength[p]) * x[p * n + o];
    }
  }
  const auto map = [&](float* out) {
    return kernels.map_pixels(workers, s, x.get(), strength.get(), mean.get(), matrix.get(), target.get(), out);
  };
  expect(map(y.get()), y, expected, "map", s);
  const bool enough = map(x.get());
  expect(enough, x, expected, "map in place", s);
}

}  // namespace

int main(int, char** arguments) {
  const int times = std::atoi(arguments[1]);
  const wct::Available available;
  for (const wct::Kernels* const* set = available.sets; *set; ++set) {
    for (int i = 0; i < times; i++) {
      try_convolutions(**set);
      try_gradients(**set);
      try_moments(**set);
      try_map(**set);
    }
    std::printf("%s: no fault found\n", (*set)->instructions);
  }
}
