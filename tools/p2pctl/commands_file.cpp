#include "core/base/units.h"
#include "tools/p2pctl/commands.h"
#include "tools/p2pctl/table.h"

namespace p2p {
namespace {

constexpr std::size_t kShortIdDigits = 12;

std::string version_text(const proto::File& file) {
  if (!file.withdrawn().empty()) return file.version() + " (withdrawn)";
  return file.version() + (file.latest() ? " (latest)" : "");
}

}  // namespace

int run(Session& session, const FileListCommand&) {
  proto::FileList list;
  if (auto failure = session.api.get("/v1/files", list)) return session.output.fail(*failure);
  print_list(session.output, list, list.files(), [&] {
    Table table({{"NAME"},
                 {"VERSION"},
                 {"SIZE", Table::Align::right},
                 {"DATA", Table::Align::right},
                 {"SEEDS", Table::Align::right},
                 {"PARTIAL", Table::Align::right},
                 {"PUBLISHED"},
                 {"FROM"},
                 {"CONTENT"}});
    for (const proto::File& file : list.files()) {
      table.add_row({file.name(), version_text(file), format_bytes(file.total_bytes()),
                     format_bytes(file.data_bytes()), std::to_string(file.seeds()),
                     std::to_string(file.partial()), file.published_at(), file.published_by(),
                     file.content_id().substr(0, kShortIdDigits)});
    }
    return table.str();
  });
  return 0;
}

int run(Session& session, const FileShowCommand& command) {
  proto::File file;
  if (auto failure = session.api.get("/v1/" + command.resource, file)) {
    return session.output.fail(*failure);
  }
  if (session.output.format() != OutputFormat::table) {
    session.output.print(file);
    return 0;
  }
  Facts facts;
  facts.add("name", file.name())
      .add("version", version_text(file))
      .add("content id", file.content_id())
      .add("size", format_bytes(file.total_bytes()) + " (" + std::to_string(file.total_bytes()) +
                       " bytes), of which data " + format_bytes(file.data_bytes()))
      .add("chunks", std::to_string(file.chunks()) + " of " + format_bytes(file.chunk_bytes()))
      .add("pieces root", file.root())
      .add("original name", file.original_name())
      .add("published", file.published_at() + " from " + file.published_by())
      .add("held by", std::to_string(file.seeds()) + " whole, " + std::to_string(file.partial()) +
                          " in part (nodes online)");
  session.output.print(facts.str());
  return 0;
}

int run(Session& session, const FileLocateCommand& command) {
  proto::Holders holders;
  if (auto failure = session.api.get("/v1/" + command.resource + "/holders", holders)) {
    return session.output.fail(*failure);
  }
  print_list(session.output, holders, holders.holders(), [&] {
    Table table({{"NODE"}, {"STATE"}, {"HOLDS"}, {"BYTES", Table::Align::right}, {"PATH"}});
    for (const proto::Holder& holder : holders.holders()) {
      table.add_row({holder.node(), holder.online() ? "online" : "offline",
                     holder.complete() ? "all" : "a part", format_bytes(holder.bytes()),
                     holder.path()});
    }
    return table.str();
  });
  return 0;
}

}  // namespace p2p
