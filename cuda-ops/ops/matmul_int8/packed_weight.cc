#include "ops/matmul_int8/packed_weight.h"

#include <algorithm>
#include <cstring>
#include <future>
#include <limits>
#include <thread>
#include <vector>

#include "common/error.h"

namespace ortqlora {
namespace {

constexpr int64_t kEetqTile = 64;

int64_t CheckedProduct(int64_t k, int64_t n) {
  if (n != 0 && k > std::numeric_limits<int64_t>::max() / n) {
    Fail("a weight of K = ", k, ", N = ", n, " is too large to address.");
  }
  return k * n;
}

// Sixteen rows of the source, zero where they lie beyond K, as [16][stride] signed bytes. (Rows a power of
// two apart would fall into the same few cache sets, hence the stride.)
class GranuleReader {
 public:
  GranuleReader(const WeightSource& source, int64_t padded_n)
      : source_(source), stride_(padded_n + 64), q_(static_cast<size_t>(kGranule * stride_)) {}

  int64_t stride() const { return stride_; }

  const int8_t* Read(int64_t granule) {
    const int64_t first = granule * kGranule, rows = std::min(kGranule, source_.k - first);
    if (rows < kGranule) std::fill(q_.begin(), q_.end(), int8_t{0});
    ReadWeightRows(source_, first, rows, q_.data(), stride_);
    return q_.data();
  }

 private:
  static constexpr int64_t kGranule = PackedWeight::kGranule;
  const WeightSource& source_;
  int64_t stride_;
  std::vector<int8_t> q_;
};

// The first byte of a k-quad (four rows) in a panel `columns` wide: [padded_k / 4][columns][4 k].
int64_t QuadOffset(int64_t panel, int64_t quad, int64_t columns, int64_t padded_k) {
  return panel * PackedWeight::kPanel * padded_k + quad * 4 * columns;
}

uint8_t Stored(int8_t q) { return static_cast<uint8_t>(static_cast<uint8_t>(q) ^ 0x80u); }

}  // namespace

WeightLayout ParseLayout(const std::string& name) {
  if (name == "plain") return WeightLayout::kPlain;
  if (name == "eetq_sm80") return WeightLayout::kEetqSm80;
  if (name == "tile64") return WeightLayout::kTile64;
  if (name == "panel64") return WeightLayout::kPanel64;
  Fail("attribute layout is '", name, "', expected 'plain', 'eetq_sm80', 'tile64' or 'panel64'.");
}

const char* LayoutName(WeightLayout layout) {
  switch (layout) {
    case WeightLayout::kPlain:
      return "plain";
    case WeightLayout::kEetqSm80:
      return "eetq_sm80";
    case WeightLayout::kTile64:
      return "tile64";
    case WeightLayout::kPanel64:
      return "panel64";
  }
  return "unknown";
}

int64_t PaddingOf(WeightLayout layout) {
  switch (layout) {
    case WeightLayout::kPlain:
      return 1;
    case WeightLayout::kEetqSm80:
      return kEetqTile;
    case WeightLayout::kTile64:
      return kTile64Pad;
    case WeightLayout::kPanel64:
      return PackedWeight::kGranule;
  }
  return 1;
}

int64_t WeightSource::size() const {
  if (k < 0 || n < 0) Fail("K = ", k, " and N = ", n, " must not be negative.");
  constexpr int64_t kLimit = int64_t{1} << 56;
  if (k > kLimit || n > kLimit) Fail("a weight of K = ", k, ", N = ", n, " is too large to address.");
  const int64_t padding = PaddingOf(layout);
  return CheckedProduct(RoundUp(k, padding), RoundUp(n, padding));
}

void PackTile64(const WeightSource& source, uint8_t* out) {
  const int64_t padded_k = RoundUp(source.k, kTile64Pad);
  std::fill_n(out, padded_k * RoundUp(source.n, kTile64Pad), PackedWeight::kZero);
  const int64_t granules = (source.k + PackedWeight::kGranule - 1) / PackedWeight::kGranule;
  const auto pack = [&](int64_t begin, int64_t end) {
    GranuleReader reader(source, RoundUp(source.n, PackedWeight::kGranule));
    for (int64_t granule = begin; granule < end; ++granule) {
      const int64_t first = granule * PackedWeight::kGranule;
      const int8_t* q = reader.Read(granule);
      for (int64_t row = 0; row < std::min(PackedWeight::kGranule, source.k - first); ++row) {
        for (int64_t n = 0; n < source.n; ++n) {
          out[Tile64Offset(first + row, n, padded_k)] = Stored(q[row * reader.stride() + n]);
        }
      }
    }
  };
  // Outside ONNX Runtime there is no thread pool. Rows of the weight are apart in the result, byte by byte.
  constexpr int64_t kWorthThread = int64_t{1} << 18;
  const int64_t most = std::max<int64_t>(1, std::min<int64_t>(std::thread::hardware_concurrency(), granules));
  const int64_t threads = std::clamp<int64_t>(source.k * source.n / kWorthThread, 1, most);
  std::vector<std::future<void>> parts;
  for (int64_t part = 1; part < threads; ++part) {
    parts.push_back(
        std::async(std::launch::async, pack, granules * part / threads, granules * (part + 1) / threads));
  }
  pack(0, granules / threads);
  for (std::future<void>& part : parts) part.get();
}

void ReadWeightRows(const WeightSource& source, int64_t first, int64_t rows, int8_t* q, int64_t stride) {
  if (source.layout == WeightLayout::kPlain) {
    const auto* from = static_cast<const int8_t*>(source.data) + first * source.n;
    for (int64_t row = 0; row < rows; ++row) std::copy_n(from + row * source.n, source.n, q + row * stride);
    return;
  }
  if (source.layout == WeightLayout::kTile64) {
    const auto* bytes = static_cast<const uint8_t*>(source.data);
    const int64_t padded_k = RoundUp(source.k, kTile64Pad);
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t n = 0; n < source.n; ++n) {
        q[row * stride + n] = static_cast<int8_t>(bytes[Tile64Offset(first + row, n, padded_k)] ^ 0x80u);
      }
    }
    return;
  }
  if (source.layout == WeightLayout::kPanel64) {
    constexpr int64_t kPanel = PackedWeight::kPanel, kGranule = PackedWeight::kGranule;
    const auto* bytes = static_cast<const uint8_t*>(source.data);
    const int64_t padded_k = RoundUp(source.k, kGranule), padded_n = RoundUp(source.n, kGranule);
    for (int64_t column = 0; column < source.n; column += kPanel) {
      const int64_t columns = std::min(kPanel, padded_n - column), used = std::min(kPanel, source.n - column);
      for (int64_t row = 0; row < rows; ++row) {
        const uint8_t* from =
            bytes + QuadOffset(column / kPanel, (first + row) / 4, columns, padded_k) + (first + row) % 4;
        for (int64_t c = 0; c < used; ++c)
          q[row * stride + column + c] = static_cast<int8_t>(from[4 * c] ^ 0x80u);
      }
    }
    return;
  }
  // EETQ's SM80 layout: column pairs are contiguous; inside a pair tiles of 64 k, first the even then the odd
  // column; inside a tile the low and high eight of each 16 k are zipped.
  const int64_t padded_k = RoundUp(source.k, kEetqTile);
  const auto* bytes = static_cast<const uint8_t*>(source.data) + (first >> 6) * 128 + (first & 48);
  for (int64_t n = 0; n < source.n; ++n) {
    const uint8_t* zipped = bytes + (n >> 1) * 2 * padded_k + (n & 1) * 64;
    for (int64_t row = 0; row < rows; ++row) {
      q[row * stride + n] = static_cast<int8_t>(zipped[2 * (row & 7) + (row >> 3)] ^ 0x80u);
    }
  }
}

void PackPanel64(const WeightSource& source, uint8_t* out) {
  constexpr int64_t kPanel = PackedWeight::kPanel, kGranule = PackedWeight::kGranule;
  const int64_t padded_k = RoundUp(source.k, kGranule), padded_n = RoundUp(source.n, kGranule);
  GranuleReader reader(source, padded_n);
  const int8_t* granule = nullptr;
  for (int64_t quad = 0; quad < padded_k / 4; ++quad) {
    if (quad % 4 == 0) granule = reader.Read(quad / 4);
    const int8_t* q = granule + quad % 4 * 4 * reader.stride();
    for (int64_t column = 0; column < padded_n; column += kPanel) {
      const int64_t columns = std::min(kPanel, padded_n - column);
      uint8_t* to = out + QuadOffset(column / kPanel, quad, columns, padded_k);
      for (int64_t c = 0; c < columns; ++c) {
        for (int64_t i = 0; i < 4; ++i) to[4 * c + i] = Stored(q[i * reader.stride() + column + c]);
      }
    }
  }
}

PackedWeight::PackedWeight(const WeightSource& source, const uint8_t* data)
    : k_(source.k),
      n_(source.n),
      padded_k_(RoundUp(source.k, kGranule)),
      padded_n_(RoundUp(source.n, kGranule)),
      data_(data) {}

PackedWeight::PackedWeight(const WeightSource& source) : PackedWeight(source, nullptr) {
  // Checks the sizes of source and result, one after the other.
  static_cast<void>(source.size());
  auto* bytes = reinterpret_cast<uint8_t*>(
      bytes_.Reserve(static_cast<size_t>(WeightSource{nullptr, WeightLayout::kPanel64, k_, n_}.size())));
  PackPanel64(source, bytes);
  data_ = bytes;
}

std::optional<PackedWeight> PackedWeight::InPlace(const WeightSource& source) {
  const auto alignment = static_cast<uintptr_t>(AlignedBuffer::kAlignment);
  if (source.layout != WeightLayout::kPanel64 || reinterpret_cast<uintptr_t>(source.data) % alignment != 0)
    return std::nullopt;
  return PackedWeight(source, static_cast<const uint8_t*>(source.data));
}

bool PackedWeight::Holds(const WeightSource& source) const {
  if (source.k != k_ || source.n != n_) return false;
  GranuleReader reader(source, padded_n_);
  const int8_t* granule = nullptr;
  for (int64_t quad = 0; quad < padded_k_ / 4; ++quad) {
    if (quad % 4 == 0) granule = reader.Read(quad / 4);
    const int8_t* q = granule + quad % 4 * 4 * reader.stride();
    for (int64_t p = 0; p < panels(); ++p) {
      const int64_t columns = panel_columns(p);
      const uint8_t* stored = data_ + QuadOffset(p, quad, columns, padded_k_);
      uint8_t different = 0;
      for (int64_t c = 0; c < columns; ++c) {
        for (int64_t i = 0; i < 4; ++i) {
          different |=
              static_cast<uint8_t>(stored[4 * c + i] ^ Stored(q[i * reader.stride() + p * kPanel + c]));
        }
      }
      if (different != 0) return false;
    }
  }
  return true;
}

}  // namespace ortqlora
