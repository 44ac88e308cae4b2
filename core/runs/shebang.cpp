#include "core/runs/shebang.h"

#include <algorithm>
#include <utility>

#include "core/base/text.h"

namespace p2p {
namespace {

Error bad(std::string why) {
  return {Errc::invalid_argument, std::move(why)};
}

}  // namespace

Result<Shebang> parse_shebang(std::string_view script) {
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (script.starts_with(kByteOrderMark)) {
    return bad("the script begins with a byte order mark instead of #!; save it without one");
  }
  if (!script.starts_with("#!")) {
    return bad("the script does not begin with #! and an interpreter, such as #!/bin/sh");
  }
  const std::string_view line = script.substr(0, script.find('\n'));
  if (line.size() > kMaxShebangBytes) {
    return bad("the first line of the script has more than " + std::to_string(kMaxShebangBytes) +
               " bytes");
  }
  if (line.ends_with('\r')) {
    return bad("the script has Windows line ends (CRLF), so its interpreter would be " +
               quoted(line.substr(2)) + "; convert it, for example with dos2unix");
  }
  if (line.find('\0') != std::string_view::npos) {
    return bad("the first line of the script holds a NUL byte");
  }
  constexpr std::string_view kBlanks = " \t";
  std::string_view rest = line.substr(2);
  rest.remove_prefix(std::min(rest.find_first_not_of(kBlanks), rest.size()));
  const std::size_t last = rest.find_last_not_of(kBlanks);
  rest = rest.substr(0, last == std::string_view::npos ? 0 : last + 1);
  Shebang found;
  const std::size_t end = std::min(rest.find_first_of(kBlanks), rest.size());
  found.interpreter = rest.substr(0, end);
  rest.remove_prefix(end);
  if (!rest.empty()) found.argument = rest.substr(rest.find_first_not_of(kBlanks));
  if (!found.interpreter.starts_with('/')) {
    return bad("the interpreter of the script, " + quoted(found.interpreter) +
               ", is not an absolute path such as /bin/sh");
  }
  return found;
}

}  // namespace p2p
