// The 3x3 convolution and its gradients on a CPU, without XLA. Each instruction set has them compiled for itself, in a
// namespace of that name.
//
// Images are float32, NHWC; kernels HWIO. An image may be the first `rows` and `columns` of a larger canvas: its border
// is around these, and results beyond it are zero.
#ifndef WCT_KERNELS_H_
#define WCT_KERNELS_H_

#include <stddef.h>

namespace wct {

using Index = ptrdiff_t;

// Threads that run the tasks of a call.
struct Workers {
  int threads;
  void* pool;
  // Calls `task(data, i, thread)` once for each i below `tasks`, thread being below `threads`, and waits for all.
  void (*run)(void* pool, Index tasks, void (*task)(void* data, Index i, int thread), void* data);
};

struct Shape {
  Index count, height, width;  // The batch and its canvas.
  Index rows, columns;         // The image on the canvas.
  Index inputs, outputs;       // Channels that the kernel takes and gives.
  bool upsample;               // Whether each pixel is first repeated twice in both directions.
};

// Each function returns false if there is no memory.
struct Kernels {
  const char* instructions;  // As WCT_JAX_NATIVE names them.
  // y = relu?(kernel * reflected x + bias), `[N, H, W, outputs]`; with twice the sides if `upsample`, and the largest
  // of each 2x2 if `pool`, an odd last row or column by itself.
  bool (*convolve)(const Workers&, const Shape&, const float* x, const float* kernel, const float* bias, bool relu,
                   bool pool, float* y);
  // The same of its result, after ReLU, with another kernel to another number of outputs.
  bool (*convolve_both)(const Workers&, const Shape&, const float* x, const float* kernel, const float* bias,
                        Index outputs, const float* next_kernel, const float* next_bias, bool relu, bool pool,
                        float* y);
  // The gradient by x, from that by y; not `upsample`.
  bool (*image_gradient)(const Workers&, const Shape&, const float* y, const float* kernel, float* x);
  // The gradient by the kernel, from x and the gradient by y.
  bool (*kernel_gradient)(const Workers&, const Shape&, const float* x, const float* y, float* kernel);
  // Σ w `[N]`, Σ w x / Σ w `[N, C]` and Σ w (x - mean)(x - mean)ᵀ `[N, C, C]` over the pixels of features whose
  // channels are `inputs`, with weights `[N, H, W]`.
  bool (*moments)(const Workers&, const Shape&, const float* x, const float* weights, float* count, float* mean,
                  float* scatter);
  // y = s (matrix (x - mean) + target) + (1 - s) x for each pixel and its strength s: `[N, H, W]` strengths, and for
  // each image a mean and target `[N, C]` and a matrix `[N, C, C]`; y may be x.
  bool (*map_pixels)(const Workers&, const Shape&, const float* x, const float* strength, const float* mean,
                     const float* matrix, const float* target, float* y);
};

#if defined(__x86_64__)
namespace x86_64_v2 {
extern const Kernels kernels;
}
namespace x86_64_v3 {
extern const Kernels kernels;
}
namespace x86_64_v4 {
extern const Kernels kernels;
}
#elif defined(__aarch64__)
namespace arm64 {
extern const Kernels kernels;
}
#endif

// Not where a kernel is compiled: the linker keeps one copy of an inline function, which may be that of a processor
// that has more.
#ifndef WCT_ISA
// The instruction sets that this processor has.
struct Available {
  const Kernels* sets[4] = {};  // The best first; null after the last.

  Available() {
    const Kernels** next = sets;
#if defined(__x86_64__)
    // By features: GCC before 12 and Clang before 18 cannot ask for a level, and every processor that has these has the
    // rest of its level. JAX does not start on one without v2.
    __builtin_cpu_init();
    const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
    const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                    __builtin_cpu_supports("avx512vl");
    if (v4) *next++ = &x86_64_v4::kernels;
    if (v3) *next++ = &x86_64_v3::kernels;
    *next++ = &x86_64_v2::kernels;
#elif defined(__aarch64__)
    *next++ = &arm64::kernels;
#endif
  }
};
#endif

}  // namespace wct

#endif
