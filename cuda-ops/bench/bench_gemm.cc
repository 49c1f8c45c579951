// Speed of the int8 products beside the peak of their dot instruction in the same run. Converting the rows
// and unpacking the weight are inside every time.

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "common/error.h"
#include "common/peak.h"
#include "common/stopwatch.h"
#include "test/matmul_int8_reference.h"
#include "test/thread_pool.h"

namespace ortqlora::bench {
namespace {

struct Shape {
  int64_t k, n;
};

struct Options {
  std::vector<Shape> shapes = {{2048, 2048}, {512, 1376}, {1376, 512}, {512, 512}, {384, 1536}};
  std::vector<int64_t> rows = {1, 4, 16, 64, 256, 1024, 2048};
  std::vector<Compute> computes = {Compute::kInt8, Compute::kBf16, Compute::kInt16, Compute::kFp32};
  int threads = static_cast<int>(std::thread::hardware_concurrency());
  double seconds = 0.15;  // spent on each measurement
  bool json = false;
};

std::vector<std::string> Split(const std::string& list) {
  std::vector<std::string> parts(1);
  for (char c : list) {
    if (c == ',') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

Options Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--json") {
      options.json = true;
      continue;
    }
    if (name == "--cpu-time") {
      Stopwatch::CpuTime() = true;
      options.threads = 1;
      continue;
    }
    if (i + 1 == argc)
      Fail("'", name, "' is not an option or lacks its value. Options: --json --cpu-time --threads N ",
           "--seconds S --rows 1,16 --shapes 512x1376 --compute int8,bf16.");
    const std::string value = argv[++i];
    if (name == "--threads") options.threads = std::stoi(value);
    if (name == "--seconds") options.seconds = std::stod(value);
    if (name == "--rows") {
      options.rows.clear();
      for (const std::string& part : Split(value)) options.rows.push_back(std::stoll(part));
    }
    if (name == "--shapes") {
      options.shapes.clear();
      for (const std::string& part : Split(value)) {
        options.shapes.push_back({std::stoll(part), std::stoll(part.substr(part.find('x') + 1))});
      }
    }
    if (name == "--compute") {
      options.computes.clear();
      for (const std::string& part : Split(value)) {
        for (Compute compute : test::kComputes) {
          if (part == ComputeName(compute)) options.computes.push_back(compute);
        }
      }
    }
  }
  return options;
}

struct Contender {
  Compute compute;
  Direction direction;
  Int8Gemm gemm;
  double best = 1e30;
};

double Seconds(const Contender& contender, const GemmCall& base, int64_t repeats, Parallel& parallel) {
  GemmCall call = base;
  call.direction = contender.direction;
  const Stopwatch watch;
  for (int64_t i = 0; i < repeats; ++i) contender.gemm.Run(call, parallel);
  return watch.Seconds() / static_cast<double>(repeats);
}

// All modes and directions in turn, again and again, each keeping its best: a disturbance of the machine
// then meets all of them alike.
std::vector<Contender> Measure(const Options& options, CpuPath path, Shape shape, int64_t rows,
                               Parallel& parallel) {
  const test::Weight w(shape.k, shape.n, 1);
  const PackedWeight packed(w.source());
  const std::vector<float> in = test::RandomRows(rows, std::max(shape.k, shape.n), 2);
  std::vector<float> out(in.size());
  GemmCall call;
  call.weight = &packed;
  call.scale = w.scale.data();
  call.in = in.data();
  call.out = out.data();
  call.rows = rows;

  std::vector<Contender> contenders;
  for (Compute compute : options.computes) {
    for (Direction direction : {Direction::kForward, Direction::kGradient}) {
      contenders.push_back({compute, direction, Int8Gemm(path, compute)});
    }
  }
  // Short batches: on a busy machine some of them run undisturbed.
  constexpr double kBatchSeconds = 1e-3;
  const Stopwatch total;
  do {
    for (Contender& contender : contenders) {
      const auto repeats = static_cast<int64_t>(kBatchSeconds / contender.best) + 1;
      contender.best = std::min(contender.best, Seconds(contender, call, repeats, parallel));
    }
  } while (total.Seconds() < options.seconds * static_cast<double>(contenders.size()));
  return contenders;
}

int Run(const Options& options) {
  const CpuPath path = SelectCpuPath();
  test::ThreadPool pool(options.threads);
  if (!options.json)
    std::printf("%s, %d threads; GFLOP/s (%% of peak)\n", CpuPathName(path), options.threads);
  std::array<double, 5> peaks{};  // by compute mode
  for (Shape shape : options.shapes) {
    for (int64_t rows : options.rows) {
      const std::vector<Contender> contenders = Measure(options, path, shape, rows, pool);
      if (!options.json) {
        std::printf("%5lldx%-5lld M=%-5lld", static_cast<long long>(shape.k), static_cast<long long>(shape.n),
                    static_cast<long long>(rows));
      }
      for (const Contender& c : contenders) {
        // The best so far: one measurement may have met a busy moment.
        double& peak = peaks[static_cast<size_t>(c.compute)];
        peak = std::max(peak, PeakOperationsPerSecond(path, c.compute, pool, options.threads) / 1e9);
        const double rate = 2e-9 * static_cast<double>(rows * shape.k * shape.n) / c.best;
        const char* direction = c.direction == Direction::kForward ? "forward" : "gradient";
        if (options.json) {
          std::printf(
              "{\"k\":%lld,\"n\":%lld,\"m\":%lld,\"path\":\"%s\",\"compute\":\"%s\",\"direction\":\"%s\","
              "\"threads\":%d,\"seconds\":%.4g,\"gflops\":%.1f,\"peak_gflops\":%.1f}\n",
              static_cast<long long>(shape.k), static_cast<long long>(shape.n), static_cast<long long>(rows),
              CpuPathName(path), ComputeName(c.compute), direction, options.threads, c.best, rate, peak);
        } else {
          std::printf("  %s %c %.0f (%.0f)", ComputeName(c.compute), direction[0] == 'f' ? 'F' : 'G', rate,
                      peak == 0 ? 0 : 100 * rate / peak);
        }
      }
      if (!options.json && rows == 1) {
        const double read =
            ReadBytesPerSecond(path, static_cast<size_t>(shape.k * shape.n), pool, options.threads);
        std::printf("  [plain read of the weight %.0f GB/s = %.0f GFLOP/s]", read / 1e9, 2 * read / 1e9);
      }
      if (!options.json) std::printf("\n");
      std::fflush(stdout);
    }
  }
  return 0;
}

}  // namespace
}  // namespace ortqlora::bench

int main(int argc, char** argv) {
  try {
    return ortqlora::bench::Run(ortqlora::bench::Parse(argc, argv));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_gemm: %s\n", error.what());
    return 1;
  }
}
