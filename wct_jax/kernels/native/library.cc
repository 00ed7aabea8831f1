// What Python loads: XLA's calls, shared over its threads, to the kernels for the instructions that this processor has.
#include <string.h>

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

// Calls work(i) for every 0 <= i < count, on this thread and those of `pool`; returns when all have been.
// A thread that comes too late finds nothing left to do, so what it touches is its own, not this call's.
template <typename Work>
void share(ffi::ThreadPool& pool, int64_t count, const Work& work) {
  struct State {
    std::atomic<int64_t> next{0};
    std::mutex mutex;
    std::condition_variable finished;
    int64_t done = 0;
  };
  auto state = std::make_shared<State>();
  auto run = [state, count, &work] {
    int64_t mine = 0;
    for (int64_t i; (i = state->next.fetch_add(1)) < count; ++mine) work(i);
    std::lock_guard<std::mutex> lock(state->mutex);
    if ((state->done += mine) == count) state->finished.notify_all();
  };
  for (int64_t i = std::min<int64_t>(pool.num_threads(), count - 1); i > 0; --i) pool.Schedule(decltype(run)(run));
  run();
  std::unique_lock<std::mutex> lock(state->mutex);
  state->finished.wait(lock, [&] { return state->done == count; });
}

ffi::Error doubled(ffi::ThreadPool pool, ffi::AnyBuffer input, ffi::Result<ffi::AnyBuffer> output) {
  constexpr int64_t kBlock = 1 << 14;
  const int64_t size = input.element_count();
  const float* from = input.typed_data<float>();
  float* to = output->typed_data<float>();
  share(pool, (size + kBlock - 1) / kBlock,
        [&](int64_t i) { chosen->doubled(from, to, i * kBlock, std::min(size, (i + 1) * kBlock)); });
  return ffi::Error::Success();
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

WCT_EXPORT XLA_FFI_Error* wct_doubled(XLA_FFI_CallFrame*);
XLA_FFI_DEFINE_HANDLER_SYMBOL(wct_doubled, doubled,
                              ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<ffi::AnyBuffer>().Ret<ffi::AnyBuffer>());
