// Errors are values: every function that can fail returns Result<T>.
#pragma once

#include <cerrno>
#include <cstring>
#include <expected>
#include <string>
#include <type_traits>
#include <utility>

namespace perdure {

/// Whether what failed may go well when it is tried again.
enum class Retry {
  pointless,
  later,    ///< what was in the way passes by itself, but may take a while
  at_once,  ///< what was in the way is gone by now
};

/// What failed, on which object, and the errno behind it (0 where there is none).
/// `what` is one line, ready to be shown to a user.
struct Error {
  std::string what;
  int error_number = 0;
  Retry retry = Retry::pointless;

  /// "what: strerror(error_number)", or just "what" where there is no errno.
  std::string message() const {
    if (error_number == 0) return what;
    return what + ": " + std::strerror(error_number);
  }

  /// The same error with "context: " before it.
  Error in(const std::string& context) && {
    what = context + ": " + what;
    return std::move(*this);
  }
};

template <typename T>
using Result = std::expected<T, Error>;

/// The error of the system call that has just failed; reads errno, so call it first.
inline std::unexpected<Error> system_error(std::string what) {
  const int saved = errno;
  return std::unexpected(Error{std::move(what), saved});
}

/// A failure that has no errno.
inline std::unexpected<Error> failure(std::string what) {
  return std::unexpected(Error{std::move(what), 0});
}

/// A failure that comes of the moment.
inline std::unexpected<Error> passing_failure(std::string what, Retry retry) {
  return std::unexpected(Error{std::move(what), 0, retry});
}

namespace detail {
template <typename T>
T take(Result<T>&& result) {
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}
}  // namespace detail

}  // namespace perdure

/// Unwraps a Result, or returns its error from the enclosing function (a statement expression, as GCC and Clang have it).
#define TRY(expression)                                                            \
  ({                                                                               \
    auto try_result = (expression);                                                \
    if (!try_result) return std::unexpected(std::move(try_result).error());        \
    ::perdure::detail::take(std::move(try_result));                                \
  })
