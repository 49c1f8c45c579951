#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "common/aligned_buffer.h"

namespace ortqlora {

constexpr int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// How the bytes of a weight arrive (attribute `layout`).
enum class WeightLayout {
  kPlain,     // int8 [K, N], row-major
  kEetqSm80,  // EETQ's processed layout for SM80: uint8, K and N padded to multiples of 64
  kTile64,    // the CUDA kernels' own: uint8, K and N padded to multiples of 128, see below
  kPanel64,   // the CPU kernels' own: uint8, K and N padded to multiples of 16, see PackedWeight
};

// The layout an op's attribute names. Throws Error for any other name.
WeightLayout ParseLayout(const std::string& name);
const char* LayoutName(WeightLayout layout);

// What K and N are rounded up to.
int64_t PaddingOf(WeightLayout layout);

// Layout tile64 stores u = q + 128 (padding 128) so that one copy serves the register operand of mma and
// wgmma in both directions without a shuffle. Blocks of 64 x 64 weights, 4096 bytes each, are ordered [N /
// 64][K / 64]. A 32-bit word of a block holds 2 x 2 weights: byte 2 n0 + k0, with n0 and k0 the lowest bits
// of column and row. The word's index is, from high to low bits, n5 n4 | k5 k4 | k3 | n3 xor k3 | n2 n1 | k2
// k1: a warp that reads the words of 16 columns or of 16 rows meets every shared memory bank once.
constexpr int64_t kTile64Pad = 128;

// Even column and row within its block at which word `index` starts.
struct Tile64Word {
  int n, k;
};

constexpr Tile64Word Tile64Position(int index) {
  const int k3 = index >> 5 & 1, n3 = (index >> 4 & 1) ^ k3;
  return {(index >> 8) * 16 + n3 * 8 + (index >> 2 & 3) * 2,
          (index >> 6 & 3) * 16 + k3 * 8 + (index & 3) * 2};
}

// Where weight (k, n) stands in layout tile64.
constexpr int64_t Tile64Offset(int64_t k, int64_t n, int64_t padded_k) {
  const int64_t word = (n >> 4 & 3) << 8 | (k >> 4 & 3) << 6 | (k >> 3 & 1) << 5 |
                       ((n >> 3 & 1) ^ (k >> 3 & 1)) << 4 | (n >> 1 & 3) << 2 | (k >> 1 & 3);
  return ((n >> 6) * (padded_k >> 6) + (k >> 6)) * 4096 + word * 4 + (n & 1) * 2 + (k & 1);
}

// A weight as the model holds it. K and N are the logical sizes.
struct WeightSource {
  const void* data = nullptr;
  WeightLayout layout = WeightLayout::kPlain;
  int64_t k = 0;
  int64_t n = 0;

  // Bytes `data` must hold. Throws Error where that does not fit in 63 bits.
  int64_t size() const;
};

// Pack any layout into tile64 or panel64: `out` holds WeightSource{..., that layout, k, n}.size() bytes.
void PackTile64(const WeightSource& source, uint8_t* out);
void PackPanel64(const WeightSource& source, uint8_t* out);

// Writes q[first + i, 0..n) of a source to q + i * stride as signed bytes, for i in [0, rows). `first` is a
// multiple of 16 and at most 16 rows are read: the groups EETQ's layout keeps together.
void ReadWeightRows(const WeightSource& source, int64_t first, int64_t rows, int8_t* q, int64_t stride);

// The one copy of a weight that every CPU kernel reads, forward and gradient (layout panel64): one byte a
// weight, stored as u = q + 128, so that the dot instructions take it as their unsigned operand and the
// activations stay signed.
//
//   panels of 64 columns, each [padded_k / 4][64 columns][4 k]; the last panel is as wide as it must be,
//   a multiple of 16.
//
// So 64 bytes are 16 columns x 4 k: an operand of an int8 dot product over k as it stands, and, since each
// of its 16-byte lanes is a 4 x 4 block, one in-lane byte shuffle away from a dot product over the columns.
class PackedWeight {
 public:
  static constexpr int64_t kPanel = 64;    // columns in a panel
  static constexpr int64_t kGranule = 16;  // K and N are padded to multiples of this with q = 0
  static constexpr uint8_t kZero = 128;    // the byte that means q = 0

  // Packs a copy.
  explicit PackedWeight(const WeightSource& source);

  // The source itself, where its bytes can be read as they stand: in layout panel64, on a cache line
  // boundary. They must then outlive the result. Nothing where they cannot.
  static std::optional<PackedWeight> InPlace(const WeightSource& source);

  int64_t k() const { return k_; }
  int64_t n() const { return n_; }
  int64_t padded_k() const { return padded_k_; }
  int64_t padded_n() const { return padded_n_; }
  int64_t size() const { return padded_k_ * padded_n_; }

  // Panel p holds columns [64 p, 64 p + panel_columns(p)).
  int64_t panels() const { return (padded_n_ + kPanel - 1) / kPanel; }
  int64_t panel_columns(int64_t panel) const {
    const int64_t left = padded_n_ - panel * kPanel;
    return left < kPanel ? left : kPanel;
  }
  const uint8_t* panel(int64_t panel) const { return data_ + panel * kPanel * padded_k_; }

  // Whether this is what the source would be packed into.
  bool Holds(const WeightSource& source) const;

 private:
  PackedWeight(const WeightSource& source, const uint8_t* data);

  int64_t k_, n_, padded_k_, padded_n_;
  AlignedBuffer bytes_;  // empty where `data_` is the source's
  const uint8_t* data_;
};

}  // namespace ortqlora
