#include "io/config/config.h"

#include <string>

#include "tests/support/catch.h"
#include "tests/support/temp_folder.h"

namespace p2p {
namespace {

// A configuration file that lives as long as this.
class ConfigFile {
 public:
  explicit ConfigFile(const std::string& text) { test::put_file(path(), text); }
  std::string path() const { return folder_ / "p2pd.yaml"; }

 private:
  test::TempFolder folder_;
};

const std::vector<ConfigKey> kKeys{{"listen", ConfigKind::text},
                                   {"root", ConfigKind::list},
                                   {"exec", ConfigKind::text},
                                   {"verbose", ConfigKind::flag}};

ConfigValues loaded(const std::string& text) {
  const ConfigFile file(text);
  Result<ConfigValues> values = load_config(file.path(), kKeys);
  if (!values) FAIL(values.error().detail);
  return *values;
}

// The error's text without the folder.
std::string problem(const std::string& text) {
  const ConfigFile file(text);
  const Result<ConfigValues> values = load_config(file.path(), kKeys);
  if (values) return "(accepted)";
  const std::string& detail = values.error().detail;
  return detail.substr(detail.find("p2pd.yaml"));
}

TEST_CASE("A configuration file sets texts, lists and flags") {
  const ConfigValues values = loaded(
      "# comment\nlisten: 0.0.0.0:7402\nroot:\n  - /srv/a\n  - \"/srv/b c\"\nexec: off\n"
      "verbose: yes\n");
  CHECK(values == ConfigValues{{"listen", {"0.0.0.0:7402"}},
                               {"root", {"/srv/a", "/srv/b c"}},
                               {"exec", {"off"}},
                               {"verbose", {"true"}}});
  CHECK(loaded("root: /srv/a") == ConfigValues{{"root", {"/srv/a"}}});
  CHECK(loaded("root: []") == ConfigValues{{"root", {}}});
}

TEST_CASE("An empty configuration file sets nothing") {
  CHECK(loaded("").empty());
  CHECK(loaded("# only a comment\n").empty());
  CHECK(loaded("---\n").empty());
}

TEST_CASE("An unknown key is named with its line and the key that was meant") {
  CHECK(problem("exec: any\nlisen: x\n") ==
        "p2pd.yaml:2: unknown key 'lisen' (did you mean 'listen'?)");
  CHECK(problem("colour: red") ==
        "p2pd.yaml:1: unknown key 'colour' (known keys: listen, root, exec, verbose)");
}

TEST_CASE("A value of the wrong kind is refused with its line") {
  CHECK(problem("listen: [a, b]") == "p2pd.yaml:1: key 'listen' takes one value");
  CHECK(problem("\nverbose: maybe") == "p2pd.yaml:2: key 'verbose' is 'maybe', not true or false");
  CHECK(problem("root: {a: b}") ==
        "p2pd.yaml:1: key 'root' takes a list of values, not keys of its own");
  CHECK(problem("root: [[a]]") == "p2pd.yaml:1: key 'root' holds a list in a list");
  CHECK(problem("listen:\nexec: any") == "p2pd.yaml:1: key 'listen' has no value");
  CHECK(problem("exec: a\nexec: b") == "p2pd.yaml:2: key 'exec' is set twice");
  CHECK(problem("- a") == "p2pd.yaml:1: expected lines of the form 'key: value'");
  CHECK(problem("just text") == "p2pd.yaml:1: expected lines of the form 'key: value'");
}

TEST_CASE("What is not YAML is refused with its line") {
  CHECK(problem("exec: any\nlisten: \"x").rfind("p2pd.yaml:2: not YAML", 0) == 0);
}

TEST_CASE("Anchors, aliases, depth and size cannot hurt") {
  CHECK(problem("root: &a [x]").find("anchors") != std::string::npos);
  CHECK(problem("listen: *a").find("p2pd.yaml:1: ") == 0);
  CHECK(problem("root: " + std::string(100000, '[')).rfind("p2pd.yaml:1: key 'root' ", 0) == 0);
  CHECK(problem(std::string(1024 * 1024 + 1, '#')).find("over 1048576 bytes") != std::string::npos);
  CHECK(problem("exec: a\n---\nexec: b").find("second document") != std::string::npos);
}

TEST_CASE("A configuration file that is not there is named") {
  const Result<ConfigValues> values = load_config("/nonexistent/p2pd.yaml", kKeys);
  REQUIRE_FALSE(values);
  CHECK(values.error().code == Errc::not_found);
  CHECK(values.error().detail.find("/nonexistent/p2pd.yaml") != std::string::npos);
  CHECK_FALSE(load_config(test::TempFolder().path(), kKeys));
}

TEST_CASE("The command line wins over the file") {
  const ConfigValues values{{"listen", {"file"}}, {"root", {"a", "b"}}, {"verbose", {"true"}}};
  std::string listen = "command line";
  std::vector<std::string> roots;
  bool verbose = false;
  take_text(values, "listen", /*on_command_line=*/true, listen);
  take_list(values, "root", /*on_command_line=*/false, roots);
  take_flag(values, "verbose", /*on_command_line=*/false, verbose);
  CHECK(listen == "command line");
  CHECK(roots == std::vector<std::string>{"a", "b"});
  CHECK(verbose);
  take_text(values, "absent", /*on_command_line=*/false, listen);
  CHECK(listen == "command line");
}

TEST_CASE("A host and a port are parsed in three forms and written back") {
  for (const char* text :
       {"0.0.0.0:7400", "[::1]:7402", "tracker-1.example:0", "[fe80::1%eth0]:1"}) {
    CAPTURE(text);
    const Result<HostPort> parsed = parse_host_port(text);
    REQUIRE(parsed);
    CHECK(parsed->str() == text);
  }
  CHECK(*parse_host_port("[::1]:7402") == HostPort{"::1", 7402});
}

TEST_CASE("What is no host and port is refused") {
  for (const char* text : {"", "host", "host:", ":7400", "host:65536", "host:-1", "host:1x",
                           "::1:7402", "[::1]", "[host]:1", "a b:1", "[]:1", "[:1", "host:+1"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_host_port(text));
  }
}

}  // namespace
}  // namespace p2p
