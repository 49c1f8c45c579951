#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>

namespace ortqlora {

// The thread pool a kernel runs on: ONNX Runtime's own inside a session (ort_op.h), a small pool in tests
// and benchmarks. Kernels split their outputs over tasks, and sums at most into parts that depend on the
// sizes alone, so that results do not depend on the number of threads.
class Parallel {
 public:
  virtual ~Parallel() = default;

  // Calls task(i) once for each i in [0, count), in any order and on any thread; returns when all are done.
  // The first exception of a task is thrown here.
  template <typename Task>
  void For(int64_t count, const Task& task) {
    if (count == 1) {
      task(int64_t{0});
      return;
    }
    Shared<Task> shared{task, {}, {}};
    if (count > 0) Run(static_cast<size_t>(count), &Shared<Task>::Call, &shared);
    if (shared.error) std::rethrow_exception(shared.error);
  }

 protected:
  using TaskFunction = void (*)(void* user_data, size_t index);
  virtual void Run(size_t count, TaskFunction function, void* user_data) = 0;

 private:
  template <typename Task>
  struct Shared {
    const Task& task;
    std::atomic_flag failed = ATOMIC_FLAG_INIT;
    std::exception_ptr error;

    static void Call(void* user_data, size_t index) {
      auto* self = static_cast<Shared*>(user_data);
      try {
        self->task(static_cast<int64_t>(index));
      } catch (...) {
        if (!self->failed.test_and_set()) self->error = std::current_exception();
      }
    }
  };
};

// Calls body(first, count) for parts of [0, rows), each of about 16,000 elements: less does not pay for
// waking a thread. The parts depend on the sizes alone.
template <typename Body>
void ForRows(Parallel& parallel, int64_t rows, int64_t width, const Body& body) {
  constexpr int64_t kElements = int64_t{1} << 14;
  const int64_t part = width >= kElements ? 1 : kElements / (width > 0 ? width : 1);
  parallel.For((rows + part - 1) / part, [&](int64_t task) {
    const int64_t first = task * part, left = rows - first;
    body(first, left < part ? left : part);
  });
}

// Everything on the calling thread.
class Serial final : public Parallel {
 protected:
  void Run(size_t count, TaskFunction function, void* user_data) override {
    for (size_t i = 0; i < count; ++i) function(user_data, i);
  }
};

}  // namespace ortqlora
