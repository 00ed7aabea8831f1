// Vectors of the instruction set, memory and threads.
#ifndef WCT_VECTOR_H_
#define WCT_VECTOR_H_

#include <stdlib.h>
#include <string.h>

#include "kernels.h"

namespace wct {
namespace WCT_ISA {

#if defined(__AVX512F__)
constexpr int kLanes = 16, kAccumulators = 24, kWidest = 4;
#elif defined(__AVX__)
constexpr int kLanes = 8, kAccumulators = 12, kWidest = 2;
#elif defined(__x86_64__)
constexpr int kLanes = 4, kAccumulators = 12, kWidest = 2;
#else
constexpr int kLanes = 4, kAccumulators = 24, kWidest = 4;
#endif

#define INLINE inline __attribute__((always_inline))

// Loads and stores need not be aligned.
typedef float Vector __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));

INLINE Vector load(const float* p) { return *reinterpret_cast<const Vector*>(p); }
INLINE void store(float* p, Vector v) { *reinterpret_cast<Vector*>(p) = v; }
INLINE Vector all(float x) { return x - Vector{}; }
INLINE Vector greater(Vector a, Vector b) { return a > b ? a : b; }
// Not-a-number stays so, as the second argument of `greater` does if it is one.
INLINE Vector positive(Vector v) { return greater(Vector{}, v); }

INLINE constexpr Index least(Index a, Index b) { return a < b ? a : b; }
INLINE constexpr Index most(Index a, Index b) { return a > b ? a : b; }
INLINE Index clamp(Index i, Index n) { return i < 0 ? 0 : i < n ? i : n - 1; }
INLINE constexpr Index divide_up(Index a, Index b) { return (a + b - 1) / b; }

// Channels filled up to whole vectors.
INLINE Index padded(Index channels) { return divide_up(channels, kLanes) * kLanes; }

INLINE size_t bytes(Index floats) { return static_cast<size_t>(floats) * sizeof(float); }

// The pixel that a position beside an image of n pixels shows; a single pixel shows itself.
INLINE Index reflect(Index i, Index n) {
  if (n == 1) return 0;
  return clamp(i < 0 ? -i : i >= n ? 2 * n - 2 - i : i, n);
}

// Memory aligned for vectors.
class Buffer {
 public:
  explicit Buffer(Index floats)
      : data_(static_cast<float*>(aligned_alloc(64, static_cast<size_t>(divide_up(floats + 1, 16) * 64)))) {}
  ~Buffer() { free(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  operator float*() const { return data_; }

 private:
  float* data_;
};

// Calls f(i, thread) for all tasks i, on several threads if that is `worth` waking them.
template <class F>
void parallel(const Workers& workers, Index tasks, F f, bool worth = true) {
  if (!worth) {
    for (Index i = 0; i < tasks; i++) f(i, 0);
    return;
  }
  workers.run(workers.pool, tasks, [](void* data, Index i, int thread) { (*static_cast<F*>(data))(i, thread); }, &f);
}

}  // namespace WCT_ISA
}  // namespace wct

#endif
