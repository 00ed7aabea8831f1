// What Python loads: XLA's calls, shared over its threads, to the kernels for the instructions that this processor has.
#include <string.h>

#if defined(__linux__)
#include <sched.h>
#endif

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>

#include "kernels.h"
#include "xla/ffi/api/ffi.h"

#define WCT_EXPORT extern "C" __attribute__((visibility("default")))

namespace ffi = xla::ffi;

namespace {

const wct::Available available;
const wct::Kernels* chosen = available.sets[0];

// The processor that this thread runs on, -1 if unknown.
int processor() {
#if defined(__linux__)
  return sched_getcpu();
#else
  return -1;
#endif
}

// Moves this thread away from a processor, if it is on it. Linux often wakes a thread on the processor that woke it,
// although others are idle, and takes several milliseconds to notice: longer than most calls.
void leave(int avoided) {
#if defined(__linux__)
  cpu_set_t all, others;
  if (avoided < 0 || processor() != avoided || sched_getaffinity(0, sizeof all, &all)) return;
  others = all;
  CPU_CLR(avoided, &others);
  if (CPU_COUNT(&others) && !sched_setaffinity(0, sizeof others, &others)) sched_setaffinity(0, sizeof all, &all);
#else
  (void)avoided;
#endif
}

// Calls task(data, i, thread) for every 0 <= i < count, on this thread and those of XLA's pool; returns when all have
// been. A thread that comes too late finds nothing left to do, so what it touches is its own, not this call's: XLA's
// threads may all be busy, or waiting here themselves.
void share(void* pool, wct::Index count, void (*task)(void*, wct::Index, int), void* data) {
  struct State {
    std::atomic<wct::Index> next{0};
    std::atomic<int> threads{0};
    std::mutex mutex;
    std::condition_variable finished;
    wct::Index done = 0;
  };
  auto& threads = *static_cast<ffi::ThreadPool*>(pool);
  const wct::Index others = std::min<wct::Index>(threads.num_threads(), count) - 1;
  if (others <= 0) {
    for (wct::Index i = 0; i < count; ++i) task(data, i, 0);
    return;
  }
  auto state = std::make_shared<State>();
  const int caller = processor();
  auto run = [state, count, task, data](int avoided) {
    wct::Index i = state->next.fetch_add(1), mine = 0;
    if (i >= count) return;
    leave(avoided);
    for (const int thread = state->threads.fetch_add(1); i < count; i = state->next.fetch_add(1), ++mine)
      task(data, i, thread);
    std::lock_guard<std::mutex> lock(state->mutex);
    if ((state->done += mine) == count) state->finished.notify_all();
  };
  for (wct::Index i = 0; i < others; ++i) threads.Schedule([run, caller] { run(caller); });
  run(-1);
  std::unique_lock<std::mutex> lock(state->mutex);
  state->finished.wait(lock, [&] { return state->done == count; });
}

wct::Workers workers(ffi::ThreadPool& pool) {
  return {std::max(1, static_cast<int>(pool.num_threads())), &pool, share};
}

using Floats = ffi::AnyBuffer;
using Result = ffi::Result<ffi::AnyBuffer>;

// Of images `[N, H, W, C]`, kernels `[3, 3, inputs, outputs]`, and the rows and columns that count.
wct::Shape shape(const Floats& images, const Floats& kernel, const Floats& size, bool upsample) {
  const auto sides = images.dimensions(), channels = kernel.dimensions();
  const auto* counted = size.typed_data<int32_t>();
  const auto within = [&](int i) { return std::clamp<wct::Index>(counted[i], 1, sides[i + 1]); };
  return {sides[0], sides[1], sides[2], within(0), within(1), channels[2], channels[3], upsample};
}

ffi::Error finished(bool enough) {
  return enough ? ffi::Error::Success() : ffi::Error(ffi::ErrorCode::kResourceExhausted, "no memory for conv3x3");
}

ffi::Error convolve(ffi::ThreadPool pool, Floats x, Floats kernel, Floats bias, Floats size, Result y, bool upsample,
                    bool relu, bool halve) {
  return finished(chosen->convolve(workers(pool), shape(x, kernel, size, upsample), x.typed_data<float>(),
                                   kernel.typed_data<float>(), bias.typed_data<float>(), relu, halve,
                                   y->typed_data<float>()));
}

ffi::Error convolve_both(ffi::ThreadPool pool, Floats x, Floats kernel, Floats bias, Floats next_kernel,
                         Floats next_bias, Floats size, Result y, bool upsample, bool relu, bool halve) {
  return finished(chosen->convolve_both(workers(pool), shape(x, kernel, size, upsample), x.typed_data<float>(),
                                        kernel.typed_data<float>(), bias.typed_data<float>(),
                                        next_kernel.dimensions()[3], next_kernel.typed_data<float>(),
                                        next_bias.typed_data<float>(), relu, halve, y->typed_data<float>()));
}

ffi::Error image_gradient(ffi::ThreadPool pool, Floats y, Floats kernel, Floats size, Result x) {
  return finished(chosen->image_gradient(workers(pool), shape(*x, kernel, size, false), y.typed_data<float>(),
                                         kernel.typed_data<float>(), x->typed_data<float>()));
}

ffi::Error kernel_gradient(ffi::ThreadPool pool, Floats x, Floats y, Floats size, Result kernel, bool upsample) {
  return finished(chosen->kernel_gradient(workers(pool), shape(x, *kernel, size, upsample), x.typed_data<float>(),
                                          y.typed_data<float>(), kernel->typed_data<float>()));
}

wct::Shape of_features(const Floats& x) {
  const auto sides = x.dimensions();
  return {sides[0], sides[1], sides[2], sides[1], sides[2], sides[3], sides[3], false};
}

ffi::Error moments(ffi::ThreadPool pool, Floats x, Floats weights, Result count, Result mean, Result scatter) {
  return finished(chosen->moments(workers(pool), of_features(x), x.typed_data<float>(), weights.typed_data<float>(),
                                  count->typed_data<float>(), mean->typed_data<float>(), scatter->typed_data<float>()));
}

ffi::Error map_pixels(ffi::ThreadPool pool, Floats x, Floats strength, Floats mean, Floats matrix, Floats target,
                      Result y) {
  return finished(chosen->map_pixels(workers(pool), of_features(x), x.typed_data<float>(), strength.typed_data<float>(),
                                     mean.typed_data<float>(), matrix.typed_data<float>(), target.typed_data<float>(),
                                     y->typed_data<float>()));
}

}  // namespace

// The instructions in use, null if there is no code for this processor.
WCT_EXPORT const char* wct_instructions(void) { return chosen ? chosen->instructions : nullptr; }

// Use these instructions from now on; false if they are unknown or this processor lacks them.
WCT_EXPORT bool wct_use(const char* instructions) {
  for (const wct::Kernels* const* set = available.sets; *set; ++set) {
    if (strcmp((*set)->instructions, instructions) == 0) {
      chosen = *set;
      return true;
    }
  }
  return false;
}

// The digest of the sources that this was built from.
WCT_EXPORT const char* wct_sources(void) { return WCT_SOURCES; }

WCT_EXPORT XLA_FFI_Error* wct_convolve(XLA_FFI_CallFrame*);
XLA_FFI_DEFINE_HANDLER_SYMBOL(wct_convolve, convolve,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Ret<Floats>()
                                  .Attr<bool>("upsample")
                                  .Attr<bool>("relu")
                                  .Attr<bool>("pool"));

WCT_EXPORT XLA_FFI_Error* wct_convolve_both(XLA_FFI_CallFrame*);
XLA_FFI_DEFINE_HANDLER_SYMBOL(wct_convolve_both, convolve_both,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Ret<Floats>()
                                  .Attr<bool>("upsample")
                                  .Attr<bool>("relu")
                                  .Attr<bool>("pool"));

WCT_EXPORT XLA_FFI_Error* wct_image_gradient(XLA_FFI_CallFrame*);
XLA_FFI_DEFINE_HANDLER_SYMBOL(
    wct_image_gradient, image_gradient,
    ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Floats>().Arg<Floats>().Arg<Floats>().Ret<Floats>());

WCT_EXPORT XLA_FFI_Error* wct_kernel_gradient(XLA_FFI_CallFrame*);
XLA_FFI_DEFINE_HANDLER_SYMBOL(
    wct_kernel_gradient, kernel_gradient,
    ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Floats>().Arg<Floats>().Arg<Floats>().Ret<Floats>().Attr<bool>(
        "upsample"));

WCT_EXPORT XLA_FFI_Error* wct_moments(XLA_FFI_CallFrame*);
XLA_FFI_DEFINE_HANDLER_SYMBOL(
    wct_moments, moments,
    ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Floats>().Arg<Floats>().Ret<Floats>().Ret<Floats>().Ret<Floats>());

WCT_EXPORT XLA_FFI_Error* wct_map_pixels(XLA_FFI_CallFrame*);
XLA_FFI_DEFINE_HANDLER_SYMBOL(wct_map_pixels, map_pixels,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Ret<Floats>());
