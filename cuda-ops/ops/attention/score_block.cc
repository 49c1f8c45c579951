#include "ops/attention/score_block.h"

#include <algorithm>
#include <limits>

namespace ortqlora {

ScoreBlock::ScoreBlock(const SimdKernels& simd, const AttentionShape& shape, const AttentionMask& mask,
                       int64_t batch, int64_t head, int64_t first, int64_t count)
    : simd_(simd),
      shape_(shape),
      mask_(mask),
      origin_(batch * mask.batch + head * mask.head),
      first_(first),
      count_(count) {
  for (int64_t query = first; query < first + count && all_see_; ++query) {
    all_see_ = SeesAny(query, 0, shape.keys);
    // Rows of a mask without an axis of queries are alike, but for the causal rule, which shows later queries
    // more.
    if (mask.query == 0) break;
  }
}

int64_t ScoreBlock::CausalEnd(int64_t query) const {
  return shape_.causal ? std::clamp<int64_t>(query + 1 + shape_.keys - shape_.queries, 0, shape_.keys)
                       : shape_.keys;
}

bool ScoreBlock::SeesAny(int64_t query, int64_t key, int64_t end) const {
  end = std::min(end, CausalEnd(query));
  const int64_t row = origin_ + query * mask_.query;
  if (key >= end || !mask_.given()) return key < end;
  if (mask_.visible != nullptr) {
    while (key < end && mask_.visible[row + key * mask_.key] == 0) ++key;
    return key < end;
  }
  // Most queries see the first key they are asked about.
  while (key < end) {
    if (mask_.added[row + key * mask_.key] > kMaskedScore) return true;
    if (mask_.key == 0) return false;
    const int64_t part = std::min(end - ++key, kKeyBlock);
    if (part > 0 && simd_.largest(mask_.added + row + key, part) > kMaskedScore) return true;
    key += part;
  }
  return false;
}

bool ScoreBlock::IsHidden(int64_t key, int64_t keys) const {
  if (!all_see_) return false;
  for (int64_t query = first_ + count_ - 1; query >= first_; --query) {
    if (SeesAny(query, key, key + keys)) return false;
    if (mask_.query == 0) return true;
  }
  return true;
}

void ScoreBlock::Mask(int64_t key, int64_t keys, float* scores) const {
  constexpr float kHidden = -std::numeric_limits<float>::infinity();
  for (int64_t row = 0; row < count_; ++row) {
    float* const out = scores + row * kKeyBlock;
    const int64_t query = first_ + row, at = origin_ + query * mask_.query + key * mask_.key;
    if (mask_.added != nullptr) {
      if (mask_.key != 0) {
        simd_.add_scaled(mask_.added + at, 1.0f, keys, out);
      } else {
        for (int64_t i = 0; i < keys; ++i) out[i] += mask_.added[at];
      }
    } else if (mask_.visible != nullptr) {
      for (int64_t i = 0; i < keys; ++i) {
        if (mask_.visible[at + i * mask_.key] == 0) out[i] = kHidden;
      }
    }
    for (int64_t i = std::max<int64_t>(0, CausalEnd(query) - key); i < keys; ++i) out[i] = kHidden;
  }
}

}  // namespace ortqlora
