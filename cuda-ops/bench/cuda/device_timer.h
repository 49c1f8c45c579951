#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "common/cuda/check.h"

namespace ortqlora::bench {

// Work captured as a graph, so that launches cost nothing and replays can be interleaved.
class Replay {
 public:
  Replay(cudaStream_t stream, const std::function<void()>& work) : stream_(stream) {
    cudaGraph_t graph;
    cuda::Check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    work();
    cuda::Check(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
    cuda::Check(cudaGraphInstantiate(&graph_, graph, 0), "cudaGraphInstantiate");
    cuda::Check(cudaGraphDestroy(graph), "cudaGraphDestroy");
  }
  Replay(const Replay&) = delete;
  ~Replay() { static_cast<void>(cudaGraphExecDestroy(graph_)); }

  // Microseconds of one replay.
  double Time() {
    cudaEvent_t start, end;
    cuda::Check(cudaEventCreate(&start), "cudaEventCreate");
    cuda::Check(cudaEventCreate(&end), "cudaEventCreate");
    cuda::Check(cudaEventRecord(start, stream_), "cudaEventRecord");
    cuda::Check(cudaGraphLaunch(graph_, stream_), "cudaGraphLaunch");
    cuda::Check(cudaEventRecord(end, stream_), "cudaEventRecord");
    cuda::Check(cudaEventSynchronize(end), "replay");
    float milliseconds = 0;
    cuda::Check(cudaEventElapsedTime(&milliseconds, start, end), "cudaEventElapsedTime");
    cuda::Check(cudaEventDestroy(start), "cudaEventDestroy");
    cuda::Check(cudaEventDestroy(end), "cudaEventDestroy");
    return milliseconds * 1e3;
  }

 private:
  cudaStream_t stream_;
  cudaGraphExec_t graph_ = nullptr;
};

inline double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<int64_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

// Medians of several works, one replay of each after the other in every round; the first round warms up.
inline std::vector<double> Interleave(const std::vector<Replay*>& works, int rounds) {
  std::vector<std::vector<double>> times(works.size());
  for (int round = 0; round <= rounds; ++round) {
    for (size_t i = 0; i < works.size(); ++i) {
      const double time = works[i]->Time();
      if (round > 0) times[i].push_back(time);
    }
  }
  std::vector<double> medians;
  for (const auto& values : times) medians.push_back(Median(values));
  return medians;
}

}  // namespace ortqlora::bench
