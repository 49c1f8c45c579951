#include "ops/matmul_int8/packed_weight.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "common/error.h"

namespace ortqlora {
namespace {

constexpr int64_t kEetqTile = 64;

// Byte of q[k, n] in EETQ's SM80 layout: column pairs are contiguous; inside a pair tiles of 64 k, first
// the even then the odd column; inside a tile the low and high eight of each 16 k are zipped.
int64_t EetqOffset(int64_t k, int64_t n, int64_t padded_k) {
  return (n >> 1) * 2 * padded_k + (k >> 6) * 128 + (n & 1) * 64 + (k & 48) + 2 * (k & 7) + (k >> 3 & 1);
}

int64_t CheckedProduct(int64_t k, int64_t n) {
  if (n != 0 && k > std::numeric_limits<int64_t>::max() / n) {
    Fail("a weight of K = ", k, ", N = ", n, " is too large to address.");
  }
  return k * n;
}

// Four rows of the source, zero where they lie beyond K, as [4][padded_n] stored bytes.
class QuadReader {
 public:
  QuadReader(const WeightSource& source, int64_t padded_n)
      : source_(source), padded_n_(padded_n), q_(static_cast<size_t>(4 * padded_n)) {}

  const int8_t* Read(int64_t quad) {
    std::fill(q_.begin(), q_.end(), int8_t{0});
    for (int64_t i = 0; i < 4 && 4 * quad + i < source_.k; ++i) {
      ReadWeightRow(source_, 4 * quad + i, q_.data() + i * padded_n_);
    }
    return q_.data();
  }

 private:
  const WeightSource& source_;
  int64_t padded_n_;
  std::vector<int8_t> q_;
};

uint8_t Stored(int8_t q) { return static_cast<uint8_t>(static_cast<uint8_t>(q) ^ 0x80u); }

}  // namespace

int64_t WeightSource::size() const {
  if (k < 0 || n < 0) Fail("K = ", k, " and N = ", n, " must not be negative.");
  constexpr int64_t kLimit = int64_t{1} << 56;
  if (k > kLimit || n > kLimit) Fail("a weight of K = ", k, ", N = ", n, " is too large to address.");
  if (layout == WeightLayout::kPlain) return CheckedProduct(k, n);
  return CheckedProduct(RoundUp(k, kEetqTile), RoundUp(n, kEetqTile));
}

void ReadWeightRow(const WeightSource& source, int64_t row, int8_t* q) {
  if (source.layout == WeightLayout::kPlain) {
    std::copy_n(static_cast<const int8_t*>(source.data) + row * source.n, source.n, q);
    return;
  }
  const auto* bytes = static_cast<const uint8_t*>(source.data);
  const int64_t padded_k = RoundUp(source.k, kEetqTile);
  const int64_t even = EetqOffset(row, 0, padded_k);
  for (int64_t n = 0; n < source.n; ++n) {
    q[n] = static_cast<int8_t>(bytes[even + (n >> 1) * 2 * padded_k + (n & 1) * 64] ^ 0x80u);
  }
}

PackedWeight::PackedWeight(const WeightSource& source)
    : k_(source.k),
      n_(source.n),
      padded_k_(RoundUp(source.k, kGranule)),
      padded_n_(RoundUp(source.n, kGranule)),
      bytes_(static_cast<size_t>((source.size(), CheckedProduct(padded_k_, padded_n_)))) {
  QuadReader reader(source, padded_n_);
  auto* bytes = reinterpret_cast<uint8_t*>(bytes_.data());
  for (int64_t quad = 0; quad < padded_k_ / 4; ++quad) {
    const int8_t* q = reader.Read(quad);
    for (int64_t p = 0; p < panels(); ++p) {
      const int64_t columns = panel_columns(p);
      uint8_t* out = bytes + p * kPanel * padded_k_ + quad * 4 * columns;
      for (int64_t c = 0; c < columns; ++c) {
        for (int64_t i = 0; i < 4; ++i) out[4 * c + i] = Stored(q[i * padded_n_ + p * kPanel + c]);
      }
    }
  }
}

bool PackedWeight::Holds(const WeightSource& source) const {
  if (source.k != k_ || source.n != n_) return false;
  QuadReader reader(source, padded_n_);
  for (int64_t quad = 0; quad < padded_k_ / 4; ++quad) {
    const int8_t* q = reader.Read(quad);
    for (int64_t p = 0; p < panels(); ++p) {
      const int64_t columns = panel_columns(p);
      const uint8_t* stored = panel(p) + quad * 4 * columns;
      uint8_t different = 0;
      for (int64_t c = 0; c < columns; ++c) {
        for (int64_t i = 0; i < 4; ++i) {
          different |= static_cast<uint8_t>(stored[4 * c + i] ^ Stored(q[i * padded_n_ + p * kPanel + c]));
        }
      }
      if (different != 0) return false;
    }
  }
  return true;
}

}  // namespace ortqlora
