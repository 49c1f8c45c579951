#pragma once

#include <cstdint>

#include "ops/attention/attention_cpu.h"

namespace ortqlora {

// Queries of a task: as many as keys of a block, so that the causal rule hides as much as it can. Keys of a
// block: one panel.
constexpr int64_t kQueryBlock = 64;
constexpr int64_t kKeyBlock = FloatProduct::kPanel;

// Scores at or below this are masked: exporters mask with the lowest float16 or float32, or with -infinity,
// and exp of the difference to any other score is 0.
constexpr float kMaskedScore = -1e30f;

// Which blocks of keys a block of queries has to look at, and the mask of each.
class ScoreBlock {
 public:
  // Queries [first, first + count) of a batch entry's head.
  ScoreBlock(const SimdKernels& simd, const AttentionShape& shape, const AttentionMask& mask, int64_t batch,
             int64_t head, int64_t first, int64_t count);

  // Whether no query sees any of keys [key, key + keys) while each sees another one: their probabilities are
  // 0.
  bool IsHidden(int64_t key, int64_t keys) const;

  // Adds the mask to the scores [count][kKeyBlock] of keys [key, key + keys).
  void Mask(int64_t key, int64_t keys, float* scores) const;

 private:
  // One past the last key that the causal rule shows to a query.
  int64_t CausalEnd(int64_t query) const;
  bool SeesAny(int64_t query, int64_t key, int64_t end) const;

  const SimdKernels& simd_;
  const AttentionShape& shape_;
  const AttentionMask& mask_;
  int64_t origin_;  // of the mask's rows for this batch entry and head
  int64_t first_, count_;
  bool all_see_ = true;
};

}  // namespace ortqlora
