#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "common/parallel.h"

namespace ortqlora {

// Threads that spin for a while between runs, as ONNX Runtime's do: for what runs without a session (tests,
// benchmarks, the chip's peak).
class ThreadPool final : public Parallel {
 public:
  explicit ThreadPool(int threads) {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { Work(); });
  }

  ~ThreadPool() override {
    stop_ = true;
    generation_.fetch_add(1, std::memory_order_release);
    generation_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

 protected:
  void Run(size_t count, TaskFunction function, void* user_data) override {
    function_ = function;
    user_data_ = user_data;
    count_ = count;
    next_ = 0;
    busy_ = static_cast<int>(workers_.size());
    generation_.fetch_add(1, std::memory_order_release);
    generation_.notify_all();
    Claim();
    while (busy_.load(std::memory_order_acquire) != 0) std::this_thread::yield();
  }

 private:
  void Work() {
    uint32_t seen = 0;
    while (true) {
      constexpr int kSpins = 200000;
      for (int i = 0; i < kSpins && generation_.load(std::memory_order_acquire) == seen; ++i) Pause();
      generation_.wait(seen, std::memory_order_acquire);
      ++seen;
      if (stop_) return;
      Claim();
      busy_.fetch_sub(1, std::memory_order_release);
    }
  }

  void Claim() {
    for (size_t i = next_.fetch_add(1); i < count_; i = next_.fetch_add(1)) function_(user_data_, i);
  }

  static void Pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }

  std::vector<std::thread> workers_;
  TaskFunction function_ = nullptr;
  void* user_data_ = nullptr;
  size_t count_ = 0;
  std::atomic<size_t> next_{0};
  std::atomic<int> busy_{0};
  std::atomic<uint32_t> generation_{0};
  std::atomic<bool> stop_{false};
};

}  // namespace ortqlora
