#pragma once

#include <stdexcept>
#include <string>
#include <type_traits>

namespace ortqlora {

// A mistake of the caller (wrong shape, type, attribute, environment): the message says what was expected
// and what was given. Caught at the library's boundary, see ort_op.h and c_api.cc.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Strings and numbers in a row. (No stream: those would bring the locale machinery into the library.)
template <typename... Parts>
std::string Concat(const Parts&... parts) {
  std::string text;
  const auto append = [&text](const auto& part) {
    if constexpr (std::is_arithmetic_v<std::decay_t<decltype(part)>>) {
      text += std::to_string(part);
    } else {
      text += part;
    }
  };
  (append(parts), ...);
  return text;
}

template <typename... Parts>
[[noreturn]] void Fail(const Parts&... parts) {
  throw Error(Concat(parts...));
}

}  // namespace ortqlora
