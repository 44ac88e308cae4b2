// The API's calls about what operators have put down for runs: groups, accounts, scripts; and whom
// a target expression selects.
//
// Control thread.
#pragma once

#include <boost/asio/io_context.hpp>

#include "io/disk/disk_pool.h"
#include "tracker/accounts.h"
#include "tracker/blobs.h"
#include "tracker/journal.h"
#include "tracker/registry.h"
#include "tracker/router.h"
#include "tracker/scripts.h"

namespace p2p {

// Versions of one script that a list shows.
inline constexpr int kListedVersions = 20;

class DirectoryApi {
 public:
  struct Rooms {
    Registry& registry;
    Accounts& accounts;
    Scripts& scripts;
    const Blobs& blobs;
    Journal& journal;
    DiskPool& disk;
    boost::asio::io_context& loop;
  };

  explicit DirectoryApi(Rooms rooms) : rooms_(rooms) {}
  // This outlives the router's calls.
  void add_routes(Router& router);

 private:
  void select_targets(const ApiCall& call) const;
  void list_groups(const ApiCall& call) const;
  void show_group(const ApiCall& call) const;
  void set_group(const ApiCall& call);
  void remove_group(const ApiCall& call);
  void list_accounts(const ApiCall& call) const;
  void set_account(const ApiCall& call);
  void remove_account(const ApiCall& call);
  void list_scripts(const ApiCall& call) const;
  void show_script(const ApiCall& call) const;
  void put_script(const ApiCall& call);
  void keep_script(const ApiCall& call, proto::ScriptRecord record);

  Rooms rooms_;
};

}  // namespace p2p
