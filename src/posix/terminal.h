// Pseudo terminals that a group opened itself come back in pairs, and before the processes: who leads a session takes its controlling terminal
// before its children are born, since they inherit it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "base/fd.h"
#include "base/result.h"
#include "posix/object_tree.h"

namespace perdure::posix {

class RestoreContext;

/// What is known while they are being made.
struct TerminalsUnderWay {
  std::map<uint64_t, Fd> masters;      ///< by Terminal.pair; also of terminals whose master nobody has any more: they hang up when it is closed
  std::map<store::ObjectId, Fd> files; ///< until the open file takes them
};

/// Makes all pairs, with the numbers they had, and opens them as often as they were, still empty.
Result<void> make_terminals(RestoreContext& context);

/// The number that the group's own terminal is to get in a restore: the one it had, as far as no other terminal of the checkpoint has it.
unsigned group_terminal_number(const ObjectTree& tree);

/// The terminal that controls the process's session, if the group opened it itself; null without.
const Terminal* controlling_terminal(const ObjectTree& tree, const Process& process);

/// Gives a pair its settings and what was queued in it.
Result<void> fill_terminal(int master, const PseudoTerminal& state, unsigned number, const RestoreContext& context);

/// What would stand in the way of a restore: locks and the like, and input that acts on the foreground processes.
Result<void> settle_terminal(int master, const PseudoTerminal& state);

}  // namespace perdure::posix
