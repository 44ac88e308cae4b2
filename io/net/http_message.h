// What the HTTP server and client exchange with their users, and the text forms around it.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "core/base/result.h"

namespace p2p {

struct HttpRequest {
  std::string method;                                     // GET, POST, PUT, PATCH or DELETE
  std::string target;                                     // as sent: "/v1/files/a%2Fb?limit=5"
  std::string path;                                       // decoded: "/v1/files/a/b"
  std::map<std::string, std::string, std::less<>> query;  // decoded
  std::string body;
  std::string identity;  // what the server's authenticate() said
  std::string peer;      // address and port of the other side
};

struct HttpResponse {
  unsigned status = 200;
  std::string content_type = "application/json";
  std::string body;
};

// Every byte but letters, digits and "-._~" as %XX: for one part of a path or one query value.
std::string percent_encode(std::string_view text);
// invalid_argument: a '%' without two hexadecimal digits, or a NUL, written as it is or as %00.
Result<std::string> percent_decode(std::string_view text);

// Sets path and query from target. invalid_argument: not in origin form ("/..."), a bad escape, or
// a query name given twice.
Status parse_target(HttpRequest& request);

// {"error":{"code":"not_found","detail":"..."}}
std::string error_body(const Error& error);

}  // namespace p2p
