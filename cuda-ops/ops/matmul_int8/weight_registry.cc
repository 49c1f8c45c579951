#include "ops/matmul_int8/weight_registry.h"

#include <cstring>
#include <mutex>
#include <unordered_map>

namespace ortqlora {
namespace {

// Eight bytes at a time, four independent chains: fast enough to vanish beside reading the weight. It only
// has to spread distinct weights; equality is checked byte by byte.
uint64_t ContentHash(const WeightSource& source) {
  constexpr uint64_t kMultiplier = 0x9E3779B97F4A7C15u;
  const auto mix = [](uint64_t hash, uint64_t word) {
    hash = (hash ^ word) * kMultiplier;
    return hash ^ hash >> 29;
  };
  const auto* bytes = static_cast<const unsigned char*>(source.data);
  const auto size = static_cast<size_t>(source.size());
  uint64_t lanes[4] = {1, 2, 3, 4};
  size_t i = 0;
  for (; i + 32 <= size; i += 32) {
    uint64_t words[4];
    std::memcpy(words, bytes + i, sizeof words);
    for (int lane = 0; lane < 4; ++lane) lanes[lane] = mix(lanes[lane], words[lane]);
  }
  uint64_t hash = mix(static_cast<uint64_t>(source.k), static_cast<uint64_t>(source.n));
  for (uint64_t lane : lanes) hash = mix(hash, lane);
  for (; i < size; ++i) hash = mix(hash, bytes[i]);
  return hash;
}

class Registry {
 public:
  std::shared_ptr<const PackedWeight> Get(const WeightSource& source) {
    const uint64_t hash = ContentHash(source) ^ static_cast<uint64_t>(source.layout);
    // Held while packing, so that two sessions created at once do not pack the same weight twice.
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto [begin, end] = weights_.equal_range(hash);
    for (auto it = begin; it != end; ++it) {
      if (auto weight = it->second.lock(); weight != nullptr && weight->Holds(source)) return weight;
    }
    Sweep();
    auto weight = std::make_shared<const PackedWeight>(source);
    weights_.emplace(hash, weight);
    return weight;
  }

  PackedWeightUsage Usage() {
    const std::lock_guard<std::mutex> lock(mutex_);
    PackedWeightUsage usage;
    for (const auto& entry : weights_) {
      if (const auto weight = entry.second.lock()) {
        ++usage.count;
        usage.bytes += weight->size();
      }
    }
    return usage;
  }

 private:
  void Sweep() {
    for (auto it = weights_.begin(); it != weights_.end();) {
      it = it->second.expired() ? weights_.erase(it) : std::next(it);
    }
  }

  std::mutex mutex_;
  std::unordered_multimap<uint64_t, std::weak_ptr<const PackedWeight>> weights_;
};

Registry& TheRegistry() {
  static Registry registry;
  return registry;
}

}  // namespace

std::shared_ptr<const PackedWeight> SharedPackedWeight(const WeightSource& source) {
  return TheRegistry().Get(source);
}

PackedWeightUsage SharedPackedWeightUsage() { return TheRegistry().Usage(); }

}  // namespace ortqlora
