#include "tracker/directory_names.h"

#include <algorithm>

#include "core/base/text.h"
#include "io/state/state_store.h"

namespace p2p {
namespace {

constexpr std::size_t kMaxNameBytes = 64;

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool may_follow(char c) {
  return is_letter_or_digit(c) || c == '.' || c == '_' || c == '-';
}

}  // namespace

Status check_directory_name(std::string_view name, std::string_view what) {
  if (!name.empty() && name.size() <= kMaxNameBytes && is_letter_or_digit(name[0]) &&
      std::all_of(name.begin(), name.end(), may_follow)) {
    return {};
  }
  return Error{Errc::invalid_argument,
               quoted(name, 80) + " cannot be the name of a" + (what[0] == 'a' ? "n " : " ") +
                   std::string(what) +
                   ": write 1 to 64 letters, digits, '.', '_' and '-', a letter or digit first"};
}

Status check_directory_room(std::size_t present, std::string_view what) {
  if (present < kMaxDirectoryEntries) return {};
  return Error{Errc::exhausted, "there are " + std::to_string(present) + " " + std::string(what) +
                                    " already, and no more are kept: remove some, or choose one "
                                    "that is there"};
}

Status check_record_size(const std::string& bytes, const std::string& what) {
  if (bytes.size() <= kMaxRecordBytes) return {};
  return Error{Errc::invalid_argument, what + " is too long: " + std::to_string(bytes.size()) +
                                           " bytes as it would be stored, at most " +
                                           std::to_string(kMaxRecordBytes) + " are"};
}

Error bad_directory_record(std::string_view key) {
  return Error{Errc::corrupt, "state store: record " + std::string(key) + " cannot be read"};
}

}  // namespace p2p
