#pragma once

#include <cstddef>

#include "common/aligned_buffer.h"

namespace ortqlora {

// Memory of the calling thread that stays allocated between calls, one block a tag type; its contents last
// until the next use of the same tag. What several tasks read belongs to the thread that starts them.
template <class Tag>
std::byte* Scratch(size_t bytes) {
  thread_local AlignedBuffer buffer;
  return buffer.Reserve(bytes);
}

}  // namespace ortqlora
