#include "io/wire/proto_json.h"

#include <google/protobuf/util/json_util.h>

namespace p2p {

std::string to_json(const google::protobuf::Message& message, JsonStyle style) {
  google::protobuf::util::JsonPrintOptions options;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  options.add_whitespace = style == JsonStyle::indented;
  std::string text;
  // Fails only for messages with Any, which there are none of.
  P2P_CHECK(google::protobuf::util::MessageToJsonString(message, &text, options).ok());
  return text;
}

Status from_json(std::string_view text, google::protobuf::Message& message, UnknownFields unknown) {
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = unknown == UnknownFields::ignored;
  const auto status = google::protobuf::util::JsonStringToMessage(
      google::protobuf::StringPiece(text.data(), text.size()), &message, options);
  if (status.ok()) return {};
  return Error{Errc::invalid_argument, "cannot be read as JSON of " +
                                           std::string(message.GetDescriptor()->name()) + ": " +
                                           std::string(status.message())};
}

}  // namespace p2p
