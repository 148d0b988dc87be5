// `--mutate MESSAGE.FIELD`: leaves out one field of the records, to find saved state that no test program looks at.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "capture/mutation.h"

namespace perdure::capture {

/// Every field of every message that records consist of, as "Message.field".
std::vector<std::string> record_fields();

/// Makes the field what it is when nothing was captured (absent, empty, 0), wherever the records hold such a message.
/// A name that is not one of record_fields() does nothing.
void leave_out_field(std::string_view name, ObjectRecords& records);

}  // namespace perdure::capture
