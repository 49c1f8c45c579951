#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace ortqlora {

// A mistake of the caller (wrong shape, type, attribute, environment): the message says what was expected
// and what was given. Caught at the library's boundary, see ort_op.h and c_api.cc.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

template <typename... Parts>
std::string Concat(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  return text.str();
}

template <typename... Parts>
[[noreturn]] void Fail(const Parts&... parts) {
  throw Error(Concat(parts...));
}

}  // namespace ortqlora
