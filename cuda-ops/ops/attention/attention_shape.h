#pragma once

#include <cstdint>

namespace ortqlora {

// Where element (batch, head, position, 0) of a tensor of heads stands; features lie side by side.
struct HeadStrides {
  int64_t batch, head, position;
};

// A mask that broadcasts to [batch, heads, queries, keys]: strides in elements, 0 along an axis of size 1.
struct AttentionMask {
  const float* added = nullptr;      // to the scores; or
  const uint8_t* visible = nullptr;  // whether a query sees a key
  int64_t batch = 0, head = 0, query = 0, key = 0;

  bool given() const { return added != nullptr || visible != nullptr; }
};

// Attention of `heads` query heads over `groups` key and value heads, heads / groups of them sharing one.
struct AttentionShape {
  int64_t batch, heads, groups, queries, keys;
  int64_t size;        // features of q and k
  int64_t value_size;  // features of v and y
  float scale;
  bool causal;  // key j is for queries i >= j - (keys - queries)
  HeadStrides q, k, v, y;
};

}  // namespace ortqlora
