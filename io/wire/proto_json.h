// API objects as JSON: protobuf's mapping with the field names of the .proto files.
#pragma once

#include <google/protobuf/message.h>

#include <string>
#include <string_view>

#include "core/base/result.h"

namespace p2p {

enum class JsonStyle { one_line, indented };
// Every field is present, so that scripts need no defaults.
std::string to_json(const google::protobuf::Message& message,
                    JsonStyle style = JsonStyle::one_line);

// Ignored by who reads the answers of a newer release.
enum class UnknownFields { refused, ignored };
// invalid_argument: not JSON, or a field that does not exist or has another type.
Status from_json(std::string_view text, google::protobuf::Message& message,
                 UnknownFields unknown = UnknownFields::refused);

}  // namespace p2p
