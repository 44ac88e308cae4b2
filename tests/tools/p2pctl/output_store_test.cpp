#include "tools/p2pctl/output_store.h"

#include <vector>

#include "tests/support/catch.h"

namespace p2p {
namespace {

std::string text_of_lines(std::size_t bytes) {
  std::string text;
  for (std::size_t i = 0; text.size() < bytes; ++i) text += "line " + std::to_string(i) + "\n";
  text.resize(bytes);
  return text;
}

TEST_CASE("What a thousand nodes have written alike is kept once, however it came in pieces",
          "[tools][output_store]") {
  OutputStore store;
  const std::string text = text_of_lines(100'000);
  std::vector<OutputStream> streams(1000);
  for (std::size_t i = 0; i < streams.size(); ++i) {
    const std::size_t piece = 1000 + 7 * i;
    for (std::size_t at = 0; at < text.size(); at += piece) {
      streams[i].add(store, at, std::string_view(text).substr(at, piece));
    }
    streams[i].finish(store, text.size());
  }
  CHECK(store.bytes_kept() == text.size());
  for (const OutputStream& stream : streams) REQUIRE(stream == streams.front());
  CHECK(streams.front().text(store) == text);
}

TEST_CASE("Outputs that differ in one byte, anywhere, are not equal", "[tools][output_store]") {
  OutputStore store;
  const std::string text = text_of_lines(10'000);
  const auto stream_of = [&](const std::string& bytes) {
    OutputStream stream;
    stream.add(store, 0, bytes);
    stream.finish(store, bytes.size());
    return stream;
  };
  const OutputStream whole = stream_of(text);
  for (const std::size_t at : {0u, 4095u, 4096u, 9999u}) {
    std::string other = text;
    other[at] = '!';
    CHECK_FALSE(stream_of(other) == whole);
  }
  CHECK_FALSE(stream_of(text + "x") == whole);
  CHECK(stream_of(text) == whole);
}

TEST_CASE("A piece that was told before is not told again", "[tools][output_store]") {
  OutputStore store;
  OutputStream stream;
  CHECK(stream.add(store, 0, "abcdef") == "abcdef");
  CHECK(stream.add(store, 0, "abcdef").empty());
  CHECK(stream.add(store, 3, "defgh") == "gh");
  CHECK(stream.text(store) == "abcdefgh");
  CHECK(stream.missing() == 0);
}

TEST_CASE("What was not kept is said where it is missing", "[tools][output_store]") {
  OutputStore store;
  OutputStream stream;
  stream.add(store, 0, "head\n");
  stream.add(store, 5 + 12 * 1024 * 1024, "tail\n");
  stream.finish(store, 10 + 12 * 1024 * 1024 + 100);
  CHECK(stream.text(store) ==
        "head\n[... 12.0 MiB not kept ...]\ntail\n[... 100 B not kept ...]\n");
  CHECK(stream.kept() == 10);
  CHECK(stream.missing() == 12 * 1024 * 1024 + 100);
}

TEST_CASE("A gap in the middle of a block is found again", "[tools][output_store]") {
  OutputStore store;
  OutputStream stream;
  const std::string head = text_of_lines(6000);
  stream.add(store, 0, head);
  stream.add(store, 7000, head);
  stream.finish(store, 13'000);
  std::vector<std::string> parts;
  stream.visit(store, [&](std::string_view bytes, std::uint64_t missing) {
    if (missing > 0) {
      parts.push_back("gap " + std::to_string(missing));
    } else if (parts.empty() || parts.back().starts_with("gap")) {
      parts.emplace_back(bytes);
    } else {
      parts.back() += bytes;
    }
  });
  CHECK(parts == std::vector<std::string>{head, "gap 1000", head});
}

}  // namespace
}  // namespace p2p
