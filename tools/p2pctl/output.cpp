#include "tools/p2pctl/output.h"

#include <algorithm>
#include <cstdio>

#include "core/base/text.h"
#include "proto/api.pb.h"

namespace p2p {
namespace {

constexpr std::size_t kMaxErrorLineBytes = 4096;

// What other machines put into an error may neither steer the terminal nor break the JSON; its line
// breaks stay: a caret points from one line into the one before.
std::string printable_lines(std::string_view text) {
  std::string out;
  while (true) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    out += printable(text.substr(0, end), kMaxErrorLineBytes);
    if (end == text.size()) return out;
    out += '\n';
    text.remove_prefix(end + 1);
  }
}

void write_to(std::FILE* stream, std::string_view text) {
  // A stdout that fails is found by main(), which flushes it.
  std::fwrite(text.data(), 1, text.size(), stream);
}

}  // namespace

std::string json_text(const google::protobuf::Message& message, JsonStyle style) {
  std::string json = to_json(message, style);
  if (json.empty() || json.back() != '\n') json += '\n';
  return json;
}

void Output::print(std::string_view text) const {
  write_to(stdout, text);
}

void Output::print(const google::protobuf::Message& message) const {
  print(json_text(message,
                  format_ == OutputFormat::json ? JsonStyle::indented : JsonStyle::one_line));
  // Whoever reads a watch wants each line when it happens.
  if (format_ == OutputFormat::jsonl) std::fflush(stdout);
}

void Output::say(std::string_view line) const {
  if (format_ != OutputFormat::table) return;
  std::fflush(stdout);
  write_to(stderr, std::string(line) + "\n");
}

int Output::fail(const Failure& failure) const {
  std::fflush(stdout);
  const std::string detail = printable_lines(failure.error.detail);
  if (format_ == OutputFormat::table) {
    write_to(stderr, "p2pctl: " + detail + "\n");
  } else {
    proto::ApiError answer;
    answer.mutable_error()->set_code(std::string(to_string(failure.error.code)));
    answer.mutable_error()->set_detail(detail);
    write_to(stderr, json_text(answer, JsonStyle::one_line));
  }
  return static_cast<int>(failure.exit_code);
}

}  // namespace p2p
