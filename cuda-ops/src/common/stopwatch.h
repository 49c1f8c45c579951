#pragma once

#include <chrono>
#include <ctime>

namespace ortqlora {

// Seconds since construction: of the clock on the wall, or of this process's CPU time, which for one thread
// stays meaningful on a machine that is busy with other things.
class Stopwatch {
 public:
  static bool& CpuTime() {
    static bool cpu_time = false;
    return cpu_time;
  }

  double Seconds() const { return Now() - start_; }

 private:
  static double Now() {
    if (CpuTime()) return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  }

  double start_ = Now();
};

}  // namespace ortqlora
