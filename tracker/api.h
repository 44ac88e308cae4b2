// The operator's API: requests in, JSON out. docs/protocol.md lists the paths.
//
// Control thread. Only certificates with the roles admin and user get this far (see authenticate).
// Split by topic: api_nodes.cpp, api_files.cpp, api_jobs.cpp; api_directory.cpp and api_users.cpp
// are rooms of their own.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/net/http_server.h"
#include "tracker/audit.h"
#include "tracker/catalogue.h"
#include "tracker/enrolment.h"
#include "tracker/figures_desk.h"
#include "tracker/job_board.h"
#include "tracker/registry.h"
#include "tracker/removal.h"
#include "tracker/router.h"
#include "tracker/users.h"

namespace p2p {

class Api {
 public:
  Api(Registry& registry, Catalogue& catalogue, Enrolment& enrolment, Removal& removal,
      Journal& journal, DiskPool& disk, boost::asio::io_context& loop, JobBoard& board,
      const Users& users, Audit& audit, FiguresDesk& figures);

  // The id of the client; denied unless it is an administrator or a user of this cluster.
  Result<std::string> authenticate(const SSL* ssl);
  void handle(std::shared_ptr<HttpExchange> exchange) { router_.handle(std::move(exchange)); }
  // For the rooms that have calls of their own.
  Router& router() { return router_; }

  // Jobs of other boards that run, for /v1/status.
  void count_also(std::function<std::size_t()> running) { also_running_ = std::move(running); }
  // For /v1/status, once known.
  void set_addresses(std::string agents, std::string api, WallTime certificate_expires);

 private:
  void add_routes();
  Result<Caller> find_caller(const std::string& identity) const;
  // Goes on when the call stands in the audit record.
  void note(const ApiCall& call, const Status& allowed, Router::Then then);

  void status(const Exchange& exchange, const std::vector<std::string>& parts);
  // Of the caller, as audit records have it.
  std::string name_of(const Exchange& exchange) const;
  void create_token(const Exchange& exchange, const std::vector<std::string>& parts);
  void list_nodes(const Exchange& exchange, const std::vector<std::string>& parts);
  void show_node(const Exchange& exchange, const std::vector<std::string>& parts);
  void remove_node(const Exchange& exchange, const std::vector<std::string>& parts);
  void label_node(const Exchange& exchange, const std::vector<std::string>& parts);
  void list_files(const Exchange& exchange, const std::vector<std::string>& parts);
  void show_file(const Exchange& exchange, const std::vector<std::string>& parts);
  void show_content(const Exchange& exchange, const std::vector<std::string>& parts);
  void file_holders(const Exchange& exchange, const std::vector<std::string>& parts);
  void content_holders(const Exchange& exchange, const std::vector<std::string>& parts);
  void plan_push(const Exchange& exchange, const std::vector<std::string>& parts);
  void create_job(const Exchange& exchange, const std::vector<std::string>& parts);
  void list_jobs(const Exchange& exchange, const std::vector<std::string>& parts);
  void show_job(const Exchange& exchange, const std::vector<std::string>& parts);
  void watch_job(const Exchange& exchange, const std::vector<std::string>& parts);
  void cancel_job(const Exchange& exchange, const std::vector<std::string>& parts);
  void pause_job(const ApiCall& call);
  void resume_job(const ApiCall& call);
  void retry_job(const ApiCall& call);
  void answer_job(const Exchange& exchange, const Result<JobId>& id);

  // A content, and the name that it was asked for by or has.
  struct Found {
    const proto::FileRecord* file = nullptr;
    const proto::ContentRecord* content = nullptr;
  };
  std::optional<Found> file_of(const Exchange& exchange, const std::vector<std::string>& parts);
  std::optional<Found> content_of(const Exchange& exchange, const std::vector<std::string>& parts);
  const BoardJob* job_of(const Exchange& exchange, const std::string& id);
  proto::File file_view(const proto::FileRecord* file, const proto::ContentRecord& content) const;
  void reply_holders(const Exchange& exchange, const proto::FileRecord* file,
                     const proto::ContentRecord& content);

  Registry& registry_;
  Catalogue& catalogue_;
  Enrolment& enrolment_;
  Removal& removal_;
  Journal& journal_;
  DiskPool& disk_;
  boost::asio::io_context& loop_;
  JobBoard& board_;
  const Users& users_;
  Audit& audit_;
  FiguresDesk& figures_;
  // Names by ids, of those who have connected; a certificate has both.
  std::map<std::string, std::string> administrators_;
  Router router_;
  std::function<std::size_t()> also_running_;
  std::string agents_address_, api_address_;
  WallTime certificate_expires_{};
  Time started_{};
};

}  // namespace p2p
