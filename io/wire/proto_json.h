// API objects as JSON: protobuf's mapping with the field names of the .proto files.
#pragma once

#include <google/protobuf/message.h>

#include <string>
#include <string_view>

#include "core/base/result.h"

namespace p2p {

// One line, every field present, so that scripts need no defaults.
std::string to_json(const google::protobuf::Message& message);
// invalid_argument: not JSON, or a field that does not exist or has another type.
Status from_json(std::string_view text, google::protobuf::Message& message);

}  // namespace p2p
