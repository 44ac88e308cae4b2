// Where p2pctl's words go: stdout is data, stderr is progress and talk.
#pragma once

#include <google/protobuf/message.h>

#include <string>
#include <string_view>

#include "io/wire/proto_json.h"
#include "tools/p2pctl/failure.h"

namespace p2p {

enum class OutputFormat {
  table,  // for people
  json,   // one document
  jsonl,  // one object a line, for lists and watches
};

// protobuf's JSON mapping with the field names of the .proto files and every plain field present;
// 64-bit numbers are strings. Ends with a line break.
std::string json_text(const google::protobuf::Message& message, JsonStyle style);

class Output {
 public:
  explicit Output(OutputFormat format) : format_(format) {}

  OutputFormat format() const { return format_; }
  // To stdout, as it is.
  void print(std::string_view text) const;
  // To stdout in the chosen JSON form.
  void print(const google::protobuf::Message& message) const;
  // A line to stderr; nothing is said when the format is for machines.
  void say(std::string_view line) const;
  // The failure to stderr in the chosen form. Returns the exit code.
  int fail(const Failure& failure) const;

 private:
  OutputFormat format_;
};

}  // namespace p2p
