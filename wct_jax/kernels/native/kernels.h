// The computation, without XLA. Each instruction set has it compiled for itself, in a namespace of that name.
#ifndef WCT_KERNELS_H_
#define WCT_KERNELS_H_

#include <stdint.h>

namespace wct {

struct Kernels {
  const char* instructions;  // As WCT_JAX_NATIVE names them.
  // output[i] = 2 * input[i], begin <= i < end.
  void (*doubled)(const float* input, float* output, int64_t begin, int64_t end);
};

#if defined(__x86_64__)
namespace x86_64_v2 { extern const Kernels kernels; }
namespace x86_64_v3 { extern const Kernels kernels; }
namespace x86_64_v4 { extern const Kernels kernels; }
#elif defined(__aarch64__)
namespace arm64 { extern const Kernels kernels; }
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
