#pragma once

// A test executable: TEST(Name) { ... } blocks, RunTests() from main. Checks print the expression and both
// values and go on; a test may call Skip. A fresh machine needs nothing but a compiler.

#include <cmath>
#include <cstdio>
#include <exception>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

namespace ortqlora::test {

struct Case {
  const char* name;
  void (*body)();
};

inline std::vector<Case>& Cases() {
  static std::vector<Case> cases;
  return cases;
}

struct Skipped {
  std::string reason;
};

[[noreturn]] inline void Skip(const std::string& reason) { throw Skipped{reason}; }

inline int& Failures() {
  static int failures = 0;
  return failures;
}

// What the test is about to check, printed with a failure.
inline std::string& Context() {
  static std::string context;
  return context;
}

inline void Report(const char* file, int line, const std::string& message) {
  constexpr int kMostPrinted = 20;
  if (++Failures() <= kMostPrinted) {
    std::printf("%s:%d: %s [%s]\n", file, line, message.c_str(), Context().c_str());
  }
}

template <typename A, typename B>
void CheckEqual(const char* file, int line, const char* what, const A& actual, const B& expected) {
  if (actual == expected) return;
  std::ostringstream message;
  message << what << ": actual " << actual << ", expected " << expected;
  Report(file, line, message.str());
}

inline void CheckAtMost(const char* file, int line, const char* what, double actual, double limit) {
  if (actual <= limit) return;  // false for NaN
  std::ostringstream message;
  message << what << ": " << actual << " exceeds " << limit;
  Report(file, line, message.str());
}

// That `body` throws and the message holds every one of `parts`.
inline void CheckThrows(const char* file, int line, const std::function<void()>& body,
                        const std::vector<std::string>& parts) {
  try {
    body();
  } catch (const std::exception& error) {
    for (const std::string& part : parts) {
      if (std::string(error.what()).find(part) != std::string::npos) continue;
      Report(file, line, "message lacks '" + part + "': " + error.what());
    }
    return;
  }
  Report(file, line, "expected an error");
}

inline int RunTests(int argc, char** argv) {
  int failed = 0, skipped = 0, run = 0;
  for (const Case& test : Cases()) {
    if (argc > 1 && std::string(test.name).find(argv[1]) == std::string::npos) continue;
    ++run;
    Failures() = 0;
    Context().clear();
    try {
      test.body();
    } catch (const Skipped& skip) {
      ++skipped;
      std::printf("SKIPPED %s: %s\n", test.name, skip.reason.c_str());
      continue;
    } catch (const std::exception& error) {
      Report(test.name, 0, std::string("unexpected exception: ") + error.what());
    }
    if (Failures() != 0) ++failed;
    std::printf("%s %s\n", Failures() == 0 ? "ok" : "FAILED", test.name);
  }
  std::printf("%d tests, %d failed, %d skipped\n", run, failed, skipped);
  if (failed != 0) return 1;
  constexpr int kAllSkipped = 77;  // CTest's SKIP_RETURN_CODE
  return run != 0 && run == skipped ? kAllSkipped : 0;
}

}  // namespace ortqlora::test

#define TEST(name)                                              \
  static void name();                                           \
  [[maybe_unused]] static const bool name##_added =             \
      (ortqlora::test::Cases().push_back({#name, name}), true); \
  static void name()
#define EXPECT_EQ(actual, expected) \
  ortqlora::test::CheckEqual(__FILE__, __LINE__, #actual " == " #expected, actual, expected)
#define EXPECT_TRUE(condition) \
  ortqlora::test::CheckEqual(__FILE__, __LINE__, #condition, bool(condition), true)
#define EXPECT_AT_MOST(actual, limit) ortqlora::test::CheckAtMost(__FILE__, __LINE__, #actual, actual, limit)
#define EXPECT_THROWS(statement, ...) \
  ortqlora::test::CheckThrows(__FILE__, __LINE__, [&] { statement; }, {__VA_ARGS__})
