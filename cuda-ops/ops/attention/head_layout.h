#pragma once

#include <string>

#include "common/error.h"
#include "common/ort_kernel.h"

namespace ortqlora {

// Attribute layout: whether heads come as [batch, sequence, heads, size] ('bshd') or as [batch, heads,
// sequence, size] ('bhsd', the default).
inline bool IsSequenceFirst(const KernelInfo& info) {
  const std::string layout = info.String("layout", "bhsd");
  if (layout != "bhsd" && layout != "bshd")
    Fail("attribute layout is '", layout, "', expected 'bhsd' or 'bshd'.");
  return layout == "bshd";
}

}  // namespace ortqlora
