#include "ops/attention/attention_cpu.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/scratch.h"
#include "ops/attention/score_block.h"

namespace ortqlora {
namespace {

struct SharedScratch;
struct TaskScratchTag;

int64_t Count(int64_t size, int64_t part) { return (size + part - 1) / part; }

// The rows of one head.
MatrixView Head(const float* data, const HeadStrides& strides, int64_t batch, int64_t head) {
  return {data + batch * strides.batch + head * strides.head, strides.position, 1};
}

float* Head(float* data, const HeadStrides& strides, int64_t batch, int64_t head) {
  return data + batch * strides.batch + head * strides.head;
}

class Cursor {
 public:
  explicit Cursor(std::byte* at) : at_(at) {}
  std::byte* Take(int64_t bytes) {
    std::byte* const part = at_;
    at_ += RoundUp(bytes, 64);
    return part;
  }
  float* Floats(int64_t count) { return reinterpret_cast<float*>(Take(count * int64_t{sizeof(float)})); }

 private:
  std::byte* at_;
};

// Bytes of a right operand [reduction, columns] in panels of 64 columns.
int64_t PanelsBytes(const FloatProduct& product, int64_t reduction, int64_t columns) {
  return Count(columns, FloatProduct::kPanel) * product.PanelBytes(reduction);
}

void PackPanels(const FloatProduct& product, const MatrixView& matrix, int64_t reduction, int64_t columns,
                std::byte* out) {
  for (int64_t c = 0; c < columns; c += FloatProduct::kPanel) {
    product.PackPanel(matrix.Columns(c), reduction, std::min(FloatProduct::kPanel, columns - c),
                      out + c / FloatProduct::kPanel * product.PanelBytes(reduction));
  }
}

// out[rows, columns] = (or += where accumulate) packed rows * panels.
void MultiplyPanels(const FloatProduct& product, const std::byte* rows, int64_t row_count,
                    const std::byte* panels, int64_t reduction, int64_t columns, float* out,
                    int64_t out_stride, bool accumulate) {
  for (int64_t c = 0; c < columns; c += FloatProduct::kPanel) {
    product.Multiply({rows, row_count, panels + c / FloatProduct::kPanel * product.PanelBytes(reduction),
                      reduction, std::min(FloatProduct::kPanel, columns - c), out + c, out_stride,
                      accumulate});
  }
}

// The packed keys and values of one group, a block of keys after the other.
struct PackedGroup {
  int64_t key_bytes, value_bytes;  // of a block

  PackedGroup(const FloatProduct& product, const AttentionShape& shape)
      : key_bytes(RoundUp(product.PanelBytes(shape.size), 64)),
        value_bytes(RoundUp(PanelsBytes(product, kKeyBlock, shape.value_size), 64)) {}

  int64_t bytes(const AttentionShape& shape) const {
    return Count(shape.keys, kKeyBlock) * (key_bytes + value_bytes);
  }
};

}  // namespace

void AttentionKernel::Forward(const AttentionShape& shape, const float* q, const float* k, const float* v,
                              const AttentionMask& mask, float* y, float* lse, Parallel& parallel) const {
  const int64_t key_blocks = Count(shape.keys, kKeyBlock), query_blocks = Count(shape.queries, kQueryBlock);
  const PackedGroup group(product_, shape);
  const int64_t group_bytes = group.bytes(shape);
  std::byte* const packed =
      Scratch<SharedScratch>(static_cast<size_t>(shape.batch * shape.groups * group_bytes));
  const auto key_panel = [&](int64_t batch, int64_t g, int64_t block) {
    return packed + (batch * shape.groups + g) * group_bytes + block * (group.key_bytes + group.value_bytes);
  };
  parallel.For(shape.batch * shape.groups * key_blocks, [&](int64_t task) {
    const int64_t block = task % key_blocks, g = task / key_blocks % shape.groups;
    const int64_t batch = task / (key_blocks * shape.groups), first = block * kKeyBlock;
    const int64_t count = std::min(kKeyBlock, shape.keys - first);
    std::byte* const out = key_panel(batch, g, block);
    product_.PackPanel(Head(k, shape.k, batch, g).Rows(first).Transposed(), shape.size, count, out);
    PackPanels(product_, Head(v, shape.v, batch, g).Rows(first), count, shape.value_size,
               out + group.key_bytes);
  });

  const int64_t q_bytes = kQueryBlock * product_.RowBytes(shape.size);
  const int64_t p_bytes = kQueryBlock * product_.RowBytes(kKeyBlock);
  const int64_t floats = kQueryBlock * (kKeyBlock + RoundUp(shape.value_size, 16) + 48);
  parallel.For(shape.batch * shape.heads * query_blocks, [&](int64_t task) {
    const int64_t block = task % query_blocks, head = task / query_blocks % shape.heads;
    const int64_t batch = task / (query_blocks * shape.heads), first = block * kQueryBlock;
    const int64_t count = std::min(kQueryBlock, shape.queries - first);
    Cursor memory(Scratch<TaskScratchTag>(
        static_cast<size_t>(q_bytes + p_bytes + floats * int64_t{sizeof(float)} + 512)));
    std::byte* const rows = memory.Take(q_bytes);
    std::byte* const weights = memory.Take(p_bytes);
    float* const scores = memory.Floats(kQueryBlock * kKeyBlock);
    float* const sums = memory.Floats(kQueryBlock * shape.value_size);
    float* const most = memory.Floats(kQueryBlock);
    float* const total = memory.Floats(kQueryBlock);
    product_.PackRows(Head(q, shape.q, batch, head).Rows(first), count, shape.size, shape.scale, rows);
    std::fill_n(most, count, -std::numeric_limits<float>::infinity());
    std::fill_n(total, count, 0.0f);
    std::fill_n(sums, count * shape.value_size, 0.0f);

    const ScoreBlock visible(simd_, shape, mask, batch, head, first, count);
    for (int64_t key_block = 0; key_block < key_blocks; ++key_block) {
      const int64_t key = key_block * kKeyBlock, keys = std::min(kKeyBlock, shape.keys - key);
      if (visible.IsHidden(key, keys)) continue;
      const std::byte* const panel = key_panel(batch, head / (shape.heads / shape.groups), key_block);
      product_.Multiply({rows, count, panel, shape.size, keys, scores, kKeyBlock});
      visible.Mask(key, keys, scores);
      for (int64_t row = 0; row < count; ++row) {
        float* const score = scores + row * kKeyBlock;
        const float largest = std::max(most[row], simd_.largest(score, keys));
        // Nothing seen so far: the sums stay 0.
        const float shift = largest == -std::numeric_limits<float>::infinity() ? 0.0f : largest;
        const float sum = simd_.exp_sum(score, shift, keys, score);
        if (largest > most[row]) {
          const float factor = std::exp(most[row] - shift);
          total[row] *= factor;
          simd_.scale(sums + row * shape.value_size, factor, shape.value_size);
          most[row] = largest;
        }
        total[row] += sum;
      }
      product_.PackRows(RowMajor(scores, kKeyBlock), count, keys, 1.0f, weights);
      MultiplyPanels(product_, weights, count, panel + group.key_bytes, keys, shape.value_size, sums,
                     shape.value_size, true);
    }

    float* const out = Head(y, shape.y, batch, head);
    for (int64_t row = 0; row < count; ++row) {
      float* const result = out + (first + row) * shape.y.position;
      const float inverse = total[row] == 0.0f ? 0.0f : 1.0f / total[row];
      for (int64_t i = 0; i < shape.value_size; ++i) result[i] = sums[row * shape.value_size + i] * inverse;
      lse[(batch * shape.heads + head) * shape.queries + first + row] = most[row] + std::log(total[row]);
    }
  });
}

void AttentionKernel::Backward(const AttentionShape& shape, const float* dy, const float* q, const float* k,
                               const float* v, const float* y, const float* lse, const AttentionMask& mask,
                               float* dq, float* dk, float* dv, Parallel& parallel) const {
  const int64_t key_blocks = Count(shape.keys, kKeyBlock), query_blocks = Count(shape.queries, kQueryBlock);
  const int64_t size = shape.size, value_size = shape.value_size, shared = shape.heads / shape.groups;
  const float lowest = kMaskedScore;

  // Packed once a head: queries and output gradients, as rows and as right operands.
  const int64_t q_rows = RoundUp(kQueryBlock * product_.RowBytes(size), 64);
  const int64_t dy_rows = RoundUp(kQueryBlock * product_.RowBytes(value_size), 64);
  const int64_t q_panels = RoundUp(PanelsBytes(product_, kQueryBlock, size), 64);
  const int64_t dy_panels = RoundUp(PanelsBytes(product_, kQueryBlock, value_size), 64);
  const int64_t block_bytes = q_rows + dy_rows + q_panels + dy_panels;
  const int64_t key_panel = RoundUp(product_.PanelBytes(size), 64),
                value_panel = RoundUp(product_.PanelBytes(value_size), 64);
  const int64_t keys_panels = RoundUp(PanelsBytes(product_, kKeyBlock, size), 64);
  const int64_t tile = kQueryBlock * kKeyBlock;
  const int64_t transposed = RoundUp(kKeyBlock * product_.RowBytes(kQueryBlock), 64);
  const int64_t ds_rows = RoundUp(kQueryBlock * product_.RowBytes(kKeyBlock), 64);
  const int64_t bytes = query_blocks * block_bytes + key_panel + value_panel + keys_panels + transposed +
                        ds_rows + (2 * tile + shape.queries + 64) * int64_t{sizeof(float)};

  parallel.For(shape.batch * shape.groups, [&](int64_t task) {
    const int64_t g = task % shape.groups, batch = task / shape.groups;
    Cursor memory(Scratch<TaskScratchTag>(static_cast<size_t>(bytes)));
    std::byte* const blocks = memory.Take(query_blocks * block_bytes);
    std::byte* const key_columns = memory.Take(key_panel);
    std::byte* const value_columns = memory.Take(value_panel);
    std::byte* const keys_right = memory.Take(keys_panels);
    std::byte* const across = memory.Take(transposed);
    std::byte* const along = memory.Take(ds_rows);
    float* const p = memory.Floats(tile);
    float* const dp = memory.Floats(tile);
    float* const delta = memory.Floats(shape.queries);
    const MatrixView k_head = Head(k, shape.k, batch, g), v_head = Head(v, shape.v, batch, g);
    float* const dk_head = Head(dk, shape.k, batch, g);
    float* const dv_head = Head(dv, shape.v, batch, g);
    for (int64_t key = 0; key < shape.keys; ++key) {
      std::fill_n(dk_head + key * shape.k.position, size, 0.0f);
      std::fill_n(dv_head + key * shape.v.position, value_size, 0.0f);
    }

    for (int64_t head = g * shared; head < (g + 1) * shared; ++head) {
      const MatrixView q_head = Head(q, shape.q, batch, head), dy_head = Head(dy, shape.y, batch, head);
      const MatrixView y_head = Head(y, shape.y, batch, head);
      float* const dq_head = Head(dq, shape.q, batch, head);
      const float* const lse_head = lse + (batch * shape.heads + head) * shape.queries;
      for (int64_t query = 0; query < shape.queries; ++query) {
        delta[query] = simd_.dot(dy_head.Rows(query).data, y_head.Rows(query).data, value_size);
        std::fill_n(dq_head + query * shape.q.position, size, 0.0f);
      }
      for (int64_t block = 0; block < query_blocks; ++block) {
        const int64_t first = block * kQueryBlock, count = std::min(kQueryBlock, shape.queries - first);
        std::byte* const at = blocks + block * block_bytes;
        product_.PackRows(q_head.Rows(first), count, size, shape.scale, at);
        product_.PackRows(dy_head.Rows(first), count, value_size, 1.0f, at + q_rows);
        PackPanels(product_, q_head.Rows(first), count, size, at + q_rows + dy_rows);
        PackPanels(product_, dy_head.Rows(first), count, value_size, at + q_rows + dy_rows + q_panels);
      }

      for (int64_t key_block = 0; key_block < key_blocks; ++key_block) {
        const int64_t key = key_block * kKeyBlock, keys = std::min(kKeyBlock, shape.keys - key);
        product_.PackPanel(k_head.Rows(key).Transposed(), size, keys, key_columns);
        product_.PackPanel(v_head.Rows(key).Transposed(), value_size, keys, value_columns);
        PackPanels(product_, k_head.Rows(key), keys, size, keys_right);
        for (int64_t block = 0; block < query_blocks; ++block) {
          const int64_t first = block * kQueryBlock, count = std::min(kQueryBlock, shape.queries - first);
          const ScoreBlock visible(simd_, shape, mask, batch, head, first, count);
          if (visible.IsHidden(key, keys)) continue;
          const std::byte* const at = blocks + block * block_bytes;
          product_.Multiply({at, count, key_columns, size, keys, p, kKeyBlock});
          visible.Mask(key, keys, p);
          product_.Multiply({at + q_rows, count, value_columns, value_size, keys, dp, kKeyBlock});
          for (int64_t row = 0; row < count; ++row) {
            float* const probability = p + row * kKeyBlock;
            const float log_sum = lse_head[first + row];
            if (log_sum > lowest) {
              simd_.exp_sum(probability, log_sum, keys, probability);
            } else {
              // All keys are masked: with a finite number they weigh the same, with -infinity nothing.
              const bool none = log_sum == -std::numeric_limits<float>::infinity();
              std::fill_n(probability, keys, none ? 0.0f : 1.0f / static_cast<float>(shape.keys));
            }
            simd_.softmax_grad(probability, dp + row * kKeyBlock, delta[first + row], keys,
                               dp + row * kKeyBlock);
            simd_.scale(dp + row * kKeyBlock, shape.scale, keys);
          }
          // dv += p^T dy, dk += ds^T q, dq += ds k
          product_.PackRows(RowMajor(p, kKeyBlock).Transposed(), keys, count, 1.0f, across);
          MultiplyPanels(product_, across, keys, at + q_rows + dy_rows + q_panels, count, value_size,
                         dv_head + key * shape.v.position, shape.v.position, true);
          product_.PackRows(RowMajor(dp, kKeyBlock).Transposed(), keys, count, 1.0f, across);
          MultiplyPanels(product_, across, keys, at + q_rows + dy_rows, count, size,
                         dk_head + key * shape.k.position, shape.k.position, true);
          product_.PackRows(RowMajor(dp, kKeyBlock), count, keys, 1.0f, along);
          MultiplyPanels(product_, along, count, keys_right, keys, size, dq_head + first * shape.q.position,
                         shape.q.position, true);
        }
      }
    }
  });
}

}  // namespace ortqlora
