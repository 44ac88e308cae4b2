// Foreign text made fit for a line of a message.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace p2p {

// Length of the well-formed UTF-8 sequence at the start of `text` that stands for something
// visible (RFC 3629: no overlong forms, no surrogates; no C0, C1 or DEL); 0 when there is none.
inline std::size_t visible_utf8_length(std::string_view text) {
  if (text.empty()) return 0;
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return lead >= 0x20 && lead != 0x7f ? 1 : 0;
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return 0;
  // What the second byte may be after the leads that allow only a part of 80..BF.
  const unsigned least = lead == 0xc2 ? 0xa0 : lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const unsigned most = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  if (byte(1) < least || byte(1) > most) return 0;
  for (std::size_t i = 2; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  return length;
}

// Control characters included.
inline bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    std::size_t length = byte(0) < 0x80 ? 1 : visible_utf8_length(text);
    const bool c1 = text.size() > 1 && byte(0) == 0xc2 && byte(1) >= 0x80 && byte(1) < 0xa0;
    if (c1) length = 2;
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

// `text` as valid UTF-8 without control characters ('?' stands for each byte that is neither), so
// that names and paths of other people can neither break a message's encoding nor steer a
// terminal. Cut with "..." after `bytes_max` bytes.
inline std::string printable(std::string_view text, std::size_t bytes_max = 200) {
  std::string out;
  while (!text.empty()) {
    const std::size_t length = visible_utf8_length(text);
    const std::size_t taken = length == 0 ? 1 : length;
    if (out.size() + taken > bytes_max) return out + "...";
    out += length == 0 ? std::string_view("?") : text.substr(0, length);
    text.remove_prefix(taken);
  }
  return out;
}

// The same between double quotation marks.
inline std::string quoted(std::string_view text, std::size_t bytes_max = 200) {
  return "\"" + printable(text, bytes_max) + "\"";
}

// The longest start of `text` with at most `bytes_max` bytes that does not end inside a UTF-8
// sequence: well-formed text stays well-formed.
inline std::string_view utf8_prefix(std::string_view text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  while (bytes_max > 0 && (static_cast<unsigned char>(text[bytes_max]) & 0xc0) == 0x80) --bytes_max;
  return text.substr(0, bytes_max);
}

}  // namespace p2p
