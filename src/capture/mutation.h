// `--mutate`: leaves out the capture of one kind of state, to prove that the test programs can fail.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "posix/capture_context.h"
#include "posix/object.pb.h"

namespace perdure::capture {

/// The records of one epoch.
using ObjectRecords = std::map<posix::ObjectId, posix::Object>;

/// The kinds of state whose capture can be left out.
std::vector<std::string> known_mutations();

/// Makes the records of an epoch what they were if nothing captured these kinds, or fields named as record_fields() does. What is not known does nothing.
void leave_out(const std::set<std::string>& kinds, ObjectRecords& records);

/// Whether private pages are to be left out.
bool leaves_out_private_pages(const std::set<std::string>& kinds);
/// Whether the pages of a file whose contents are the store's are to be left out.
bool leaves_out_pages(const std::set<std::string>& kinds, const posix::Inode& inode);

}  // namespace perdure::capture
