// Pseudo terminals with the numbers that one wants: in a devpts instance of one's own.
#pragma once

#include <functional>
#include <optional>

#include "base/fd.h"
#include "base/result.h"

namespace perdure {

/// A new devpts instance with the options of the machine's own, mounted nowhere yet. Absent where no devpts is mounted at /dev/pts.
Result<std::optional<Fd>> make_terminal_file_system();

/// The master of pseudo terminal `number`, unlocked. `open` opens any master of the instance, which gives the lowest number that is free.
Result<Fd> open_master(unsigned number, const std::function<Result<Fd>()>& open);

}  // namespace perdure
