#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <sstream>

#include "capture/field_mutation.h"
#include "capture/mutation.h"

namespace perdure::capture {
namespace {

std::set<std::string> kinds_of_the_programs() {
  std::ifstream file(PERDURE_RUN_PROGRAMS);
  std::stringstream text;
  text << file.rdbuf();
  const std::string source = text.str();
  const std::string before = "KINDS = set(\"\"\"";
  const auto start = source.find(before);
  const auto end = source.find("\"\"\"", start + before.size());
  if (start == std::string::npos || end == std::string::npos) return {};
  std::istringstream words(source.substr(start + before.size(), end - start - before.size()));
  return {std::istream_iterator<std::string>(words), std::istream_iterator<std::string>()};
}

TEST(Mutation, EveryKindThatAProgramMayCoverIsKnown) {
  const auto known = known_mutations();
  EXPECT_EQ(std::set<std::string>(known.begin(), known.end()), kinds_of_the_programs());
  EXPECT_EQ(known.size(), kinds_of_the_programs().size());
}

TEST(Mutation, LeavesOutOnlyWhatIsNamed) {
  ObjectRecords records;
  records[2].mutable_file_system_context()->set_umask(077);
  records[2].mutable_file_system_context()->set_working_directory("/tmp");
  leave_out({"cwd"}, records);
  EXPECT_EQ(records[2].file_system_context().umask(), 077u);
  EXPECT_EQ(records[2].file_system_context().working_directory(), "/");
  leave_out({"umask"}, records);
  EXPECT_EQ(records[2].file_system_context().umask(), 0u);
}

TEST(Mutation, LeavesOutAFieldWhereverItIs) {
  ObjectRecords records;
  records[2].mutable_process()->add_pending()->set_signal(10);
  records[2].mutable_process()->mutable_pending(0)->set_information("kept");
  records[3].mutable_thread()->add_pending()->set_signal(12);
  records[3].mutable_thread()->set_nice(5);
  leave_out({"PendingSignal.signal"}, records);
  EXPECT_EQ(records[2].process().pending(0).signal(), 0);
  EXPECT_EQ(records[2].process().pending(0).information(), "kept");
  EXPECT_EQ(records[3].thread().pending(0).signal(), 0);
  leave_out({"Thread.nice"}, records);
  EXPECT_EQ(records[3].thread().nice(), 0);
}

TEST(Mutation, KnowsEveryField) {
  const auto fields = record_fields();
  for (const char* field : {"Thread.nice", "PendingSignal.signal", "FileLock.start"}) {
    EXPECT_NE(std::ranges::find(fields, field), fields.end()) << field;
  }
}

TEST(Mutation, EveryEndOfAPipeIsAlone) {
  ObjectRecords records;
  for (const posix::ObjectId id : {2, 3}) {
    auto& pipe = *records[id].mutable_open_file()->mutable_pipe();
    pipe.set_buffer_id(7);
    pipe.add_buffers()->set_data("data");
  }
  leave_out({"pipe"}, records);
  EXPECT_NE(records[2].open_file().pipe().buffer_id(), records[3].open_file().pipe().buffer_id());
  EXPECT_TRUE(records[2].open_file().pipe().buffers().empty());
}

}  // namespace
}  // namespace perdure::capture
