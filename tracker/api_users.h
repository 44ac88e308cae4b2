// The API's calls about users, and about the record of who has changed what.
//
// Control thread.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <string>
#include <utility>

#include "io/disk/disk_pool.h"
#include "tracker/audit.h"
#include "tracker/enrolment.h"
#include "tracker/journal.h"
#include "tracker/router.h"
#include "tracker/users.h"

namespace p2p {

class UsersApi {
 public:
  struct Rooms {
    Users& users;
    const Audit& audit;
    const Enrolment& enrolment;
    Journal& journal;
    DiskPool& disk;
    boost::asio::io_context& loop;
    // Ends what is being answered to the certificate of this id.
    std::function<void(const std::string& id)> cut_off;
  };

  explicit UsersApi(Rooms rooms) : rooms_(std::move(rooms)) {}
  // This outlives the router's calls.
  void add_routes(Router& router);

 private:
  void list_users(const ApiCall& call) const;
  void add_user(const ApiCall& call);
  void remove_user(const ApiCall& call);
  void read_audit(const ApiCall& call) const;
  void read_audit_page(const Exchange& exchange, std::uint64_t from, std::uint64_t last) const;

  Rooms rooms_;
};

}  // namespace p2p
