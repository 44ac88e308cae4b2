#include "tools/p2pctl/command_line.h"

#include "tests/support/catch.h"
#include "tests/tools/p2pctl/parsed_line.h"

namespace p2p {
namespace {

TEST_CASE("init takes folder, name, API and further names", "[tools][command_line]") {
  const auto init =
      command_of<InitCommand>({"init", "--tracker-data", "/d", "--name", "prod", "--api",
                               "t.example:9401", "--san", "a", "--san", "10.0.0.1"});
  CHECK(init.tracker_data == "/d");
  CHECK(init.name == "prod");
  CHECK(init.api == HostPort{"t.example", 9401});
  CHECK(init.sans == Words{"a", "10.0.0.1"});
}

TEST_CASE("init uses the loopback address as the API unless told otherwise",
          "[tools][command_line]") {
  CHECK(command_of<InitCommand>({"init", "--tracker-data", "/d", "--name", "p"}).api ==
        HostPort{"127.0.0.1", 7401});
  CHECK(command_of<InitCommand>({"--api", "h:1", "init", "--tracker-data", "/d", "--name", "p"})
            .api == HostPort{"h", 1});
}

TEST_CASE("token create counts its time in whole seconds, rounded up", "[tools][command_line]") {
  CHECK(command_of<TokenCreateCommand>({"token", "create"}).ttl_seconds == 7200);
  const auto token =
      command_of<TokenCreateCommand>({"token", "create", "--uses", "40", "--ttl", "1500ms",
                                      "--label", "dc=bj", "--label", "rack=r1"});
  CHECK(token.uses == 40);
  CHECK(token.ttl_seconds == 2);
  CHECK(token.labels == Labels{{"dc", "bj"}, {"rack", "r1"}});
}

TEST_CASE("token create refuses no uses, unclear times and broken labels",
          "[tools][command_line]") {
  CHECK(contains(error_of({"token", "create", "--uses", "0"}), "--uses 0"));
  CHECK(contains(error_of({"token", "create", "--ttl", "2"}), "--ttl"));
  CHECK(contains(error_of({"token", "create", "--label", "dc"}), "key=value"));
  CHECK(contains(error_of({"token", "create", "--label", "dc="}), "no value"));
  CHECK(contains(error_of({"token", "create", "--label", "a=1", "--label", "a=2"}), "twice"));
}

TEST_CASE("node label sets and removes", "[tools][command_line]") {
  const auto label = command_of<NodeLabelCommand>({"node", "label", "web01", "dc=bj", "rack="});
  CHECK(label.node == "web01");
  CHECK(label.labels == Labels{{"dc", "bj"}, {"rack", ""}});
}

TEST_CASE("node remove takes one node by name or id", "[tools][command_line]") {
  CHECK(command_of<NodeRemoveCommand>({"node", "remove", "web01"}).node == "web01");
  CHECK(contains(error_of({"node", "remove"}), "NODE"));
  CHECK(contains(error_of({"node", "remove", "web[01-20]"}), "web[01-20]"));
}

TEST_CASE("A node may have the name of a command", "[tools][command_line]") {
  CHECK(command_of<NodeShowCommand>({"node", "show", "status"}).node == "status");
  CHECK(command_of<NodeShowCommand>({"node", "show", "list"}).node == "list");
}

TEST_CASE("A node's name cannot leave its place in the API's path", "[tools][command_line]") {
  error_of({"node", "show", "../jobs"});
  error_of({"node", "show", "a/b"});
  error_of({"node", "show", "a?b"});
}

TEST_CASE("publish takes a node's path and a name", "[tools][command_line]") {
  const auto publish = command_of<PublishCommand>(
      {"publish", "web01:/srv/base.img", "--name", "images/base@2", "--detach"});
  CHECK(publish.spec.node() == "web01");
  CHECK(publish.spec.path() == "/srv/base.img");
  CHECK(publish.spec.name() == "images/base@2");
  CHECK(publish.detach);
}

TEST_CASE("publish refuses what is no path on a node, and the version latest",
          "[tools][command_line]") {
  CHECK(contains(error_of({"publish", "images/base", "--name", "images/base"}), "NODE:/path"));
  CHECK(contains(error_of({"publish", "a:/x", "--name", "images/base@latest"}), "latest"));
  CHECK(contains(error_of({"publish", "a:/x"}), "--name"));
}

TEST_CASE("push takes source, targets, path, limit and patience", "[tools][command_line]") {
  const auto push =
      command_of<PushCommand>({"push", "images/base@2", "--to", "web[01-20] - web03", "--path",
                               "{node}/base.img", "--limit", "50MB/s", "--ttl", "10m"});
  CHECK(push.spec.source() == "images/base@2");
  CHECK(push.spec.targets() == "web[01-20] - web03");
  CHECK(push.spec.path() == "{node}/base.img");
  CHECK(push.spec.limit_bytes_per_second() == 50'000'000);
  CHECK(push.spec.offline_ttl_seconds() == 600);
  CHECK_FALSE(push.detach);
}

TEST_CASE("publish names the version that nodes will start from, or none",
          "[tools][command_line]") {
  const auto based = command_of<PublishCommand>(
      {"publish", "web01:/srv/a", "--name", "images/a", "--base", "images/old@3"});
  CHECK(based.spec.base() == "images/old@3");
  CHECK_FALSE(based.spec.no_delta());
  const auto plain =
      command_of<PublishCommand>({"publish", "web01:/srv/a", "--name", "images/a", "--no-delta"});
  CHECK(plain.spec.base().empty());
  CHECK(plain.spec.no_delta());
  error_of({"publish", "w:/a", "--name", "images/a", "--base", "images/old", "--no-delta"});
  CHECK(
      contains(error_of({"publish", "w:/a", "--name", "images/a", "--base", "no name"}), "--base"));
}

TEST_CASE("push takes what is said about old files", "[tools][command_line]") {
  const Words words{"push", "images/a", "--to", "*", "--path", "vm/"};
  const auto with = [&](Words more) {
    Words all = words;
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  const auto plain = command_of<PushCommand>(words).spec;
  CHECK_FALSE(plain.no_delta());
  CHECK_FALSE(plain.no_reflink());
  CHECK(plain.basis().empty());
  CHECK_FALSE(command_of<PushCommand>(with({"--reflink", "auto"})).spec.no_reflink());
  CHECK(command_of<PushCommand>(with({"--reflink", "never"})).spec.no_reflink());
  CHECK(command_of<PushCommand>(with({"--no-delta"})).spec.no_delta());
  CHECK(command_of<PushCommand>(with({"--basis", "old/{node}.img"})).spec.basis() ==
        "old/{node}.img");
  error_of(with({"--reflink", "always"}));
  error_of(with({"--basis", "a", "--no-delta"}));
  CHECK(contains(error_of(with({"--basis", "../a"})), "--basis"));
}

TEST_CASE("plan takes a published file and targets; a path is not needed",
          "[tools][command_line]") {
  const auto plan = command_of<PlanCommand>({"plan", "images/a@2", "--to", "web[01-20]"});
  CHECK(plan.spec.source() == "images/a@2");
  CHECK(plan.spec.targets() == "web[01-20]");
  CHECK(plan.spec.path().empty());
  CHECK(command_of<PlanCommand>({"plan", "images/a", "--to", "*", "--path", "vm/"}).spec.path() ==
        "vm/");
  CHECK(command_of<PlanCommand>({"plan", "images/a", "--to", "*", "--no-delta"}).spec.no_delta());
  error_of({"plan", "images/a"});
  error_of({"plan", "images/a", "--to", "web["});
  error_of({"plan", "web01:/srv/a", "--to", "*"});
}

TEST_CASE("push shows where a target expression is wrong before anything is sent",
          "[tools][command_line]") {
  const std::string text = error_of({"push", "a:/x", "--to", "dc=bj & ", "--path", "/srv/x"});
  CHECK(contains(text, "column"));
  CHECK(contains(text, "\n"));
  CHECK(contains(text, "^"));
}

TEST_CASE("push refuses broken sources, paths and rates", "[tools][command_line]") {
  CHECK(contains(error_of({"push", "no source", "--to", "*", "--path", "/x"}), "no source"));
  CHECK(contains(error_of({"push", "a:/x", "--to", "*", "--path", "/srv/../etc/x"}), "--path"));
  CHECK(contains(error_of({"push", "a:/x", "--to", "*", "--path", "/x", "--limit", "50"}),
                 "--limit"));
  CHECK(contains(error_of({"push", "a:/x", "--path", "/x"}), "--to"));
}

TEST_CASE("A file is found by its name or by its content id", "[tools][command_line]") {
  CHECK(command_of<FileShowCommand>({"file", "show", "images/base@2"}).resource ==
        "files/images/base@2");
  CHECK(command_of<FileLocateCommand>({"file", "locate", std::string(64, 'A')}).resource ==
        "contents/" + std::string(64, 'a'));
}

TEST_CASE("A job is named as it is listed", "[tools][command_line]") {
  CHECK(command_of<JobWatchCommand>({"job", "watch", "j17"}).job == "j17");
  CHECK(contains(error_of({"job", "cancel", "17"}), "j17"));
}

TEST_CASE("The form of the output can be chosen before and after the command",
          "[tools][command_line]") {
  for (const Words& words :
       {Words{"-o", "jsonl", "node", "list"}, Words{"node", "list", "-o", "jsonl"},
        Words{"node", "list", "--output=jsonl"}}) {
    const ParsedLine line = parse_command_line(words);
    REQUIRE(std::holds_alternative<Invocation>(line));
    CHECK(std::get<Invocation>(line).output == OutputFormat::jsonl);
  }
  CHECK(contains(error_of({"node", "list", "-o", "xml"}), "xml"));
}

TEST_CASE("An error is told in the form that was asked for", "[tools][command_line]") {
  const ParsedLine parse = parse_command_line({"-o", "json", "node", "show"});
  CHECK(std::get<UsageError>(parse).output == OutputFormat::json);
  const ParsedLine check = parse_command_line({"job", "show", "x", "-o", "json"});
  CHECK(std::get<UsageError>(check).output == OutputFormat::json);
}

TEST_CASE("The API's address can be given with every command and is checked",
          "[tools][command_line]") {
  const ParsedLine line = parse_command_line({"status", "--api", "[::1]:7401"});
  CHECK(std::get<Invocation>(line).api == "[::1]:7401");
  CHECK(contains(error_of({"status", "--api", "nowhere"}), "--api"));
  CHECK(contains(error_of({"status", "--api", "h:0"}), "port 0"));
}

TEST_CASE("A misspelt command is named together with those that there are",
          "[tools][command_line]") {
  const std::string top = error_of({"nodes"});
  CHECK(contains(top, "nodes"));
  CHECK(contains(top, "publish"));
  const std::string sub = error_of({"node", "lst"});
  CHECK(contains(sub, "lst"));
  CHECK(contains(sub, "label"));
  CHECK(contains(sub, "p2pctl node --help"));
  CHECK(contains(error_of({}), "missing"));
}

TEST_CASE("Surplus words and unknown options are errors", "[tools][command_line]") {
  CHECK(contains(error_of({"status", "now"}), "now"));
  CHECK(contains(error_of({"status", "--fast"}), "--fast"));
}

TEST_CASE("Help and version are no errors", "[tools][command_line]") {
  const ParsedLine version = parse_command_line({"--version"});
  CHECK(std::get<Information>(version).text.find("p2pctl ") == 0);
  const ParsedLine help = parse_command_line({"push", "--help"});
  CHECK(contains(std::get<Information>(help).text, "--limit"));
}

}  // namespace
}  // namespace p2p
