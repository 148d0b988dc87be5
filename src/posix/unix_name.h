// Names of UNIX sockets (unix(7)).
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "posix/object_tree.h"

namespace perdure::posix {

class RestoreContext;

/// Whether a name (a sockaddr_un as the kernel keeps it) stands for a file.
bool is_path_name(const std::string& name);

/// Binds a socket so that it tells `name`, and leaves no file behind. An unnamed one stays as it is.
Result<void> bind_unix_name(int socket, const std::string& name, RestoreContext& context);

/// The same, with the socket's file under `record.path()`, in the place of what is there, with its mode and owner.
Result<void> bind_unix_path(int socket, const UnixSocket& record, RestoreContext& context);

/// An address by which a bound socket is reached, whatever its name leads to by now. `file` must live as long as the address is in use.
Result<std::string> reachable_address(int socket, const std::string& name, Fd& file);

}  // namespace perdure::posix
