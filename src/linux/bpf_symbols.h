// Addresses of kernel functions, to name what a record points to.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace perdure {

/// The addresses of those of `names` that /proc/kallsyms knows (reading it takes tens of milliseconds). Error when it hides addresses.
Result<std::map<uint64_t, std::string>> kernel_functions(std::span<const std::string_view> names);

}  // namespace perdure
