#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace ortqlora {

// Uninitialised memory on a cache line boundary, which is also the alignment of the widest vector load.
class AlignedBuffer {
 public:
  static constexpr std::align_val_t kAlignment{64};

  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t bytes) { Reserve(bytes); }

  // Grows to at least `bytes`; the old contents are lost when it does.
  std::byte* Reserve(size_t bytes) {
    if (bytes > size_) {
      data_.reset();
      size_ = 0;
      data_.reset(static_cast<std::byte*>(::operator new(bytes, kAlignment)));
      size_ = bytes;
    }
    return data_.get();
  }

  std::byte* data() { return data_.get(); }
  const std::byte* data() const { return data_.get(); }
  size_t size() const { return size_; }

 private:
  struct Release {
    void operator()(std::byte* p) const { ::operator delete(p, kAlignment); }
  };
  std::unique_ptr<std::byte, Release> data_;
  size_t size_ = 0;
};

}  // namespace ortqlora
