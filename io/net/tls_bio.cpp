#include "io/net/tls_bio.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/base/check.h"

namespace p2p {
namespace {

int read_socket(BIO* bio, char* into, int size) {
  auto& reader = *static_cast<TlsRecordReader*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  if (reader.turn_left == 0) {
    BIO_set_retry_read(bio);
    return -1;
  }
  const std::size_t most = std::min(static_cast<std::size_t>(size), reader.turn_left);
  const ssize_t count = ::recv(reader.fd, into, most, MSG_DONTWAIT);
  if (count > 0) {
    reader.turn_left -= static_cast<std::size_t>(count);
    reader.follow({reinterpret_cast<const std::uint8_t*>(into), static_cast<std::size_t>(count)});
    return static_cast<int>(count);
  }
  if (count == 0) {
    reader.eof = true;
  } else if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
    BIO_set_retry_read(bio);
  }
  return static_cast<int>(count);
}

long control_reader(BIO* bio, int command, long, void*) {
  if (command == BIO_CTRL_EOF) return static_cast<TlsRecordReader*>(BIO_get_data(bio))->eof ? 1 : 0;
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

int append_to_vector(BIO* bio, const char* bytes, int count) {
  auto& out = *static_cast<std::vector<std::uint8_t>*>(BIO_get_data(bio));
  out.insert(out.end(), bytes, bytes + count);
  return count;
}

long control_vector(BIO*, int command, long, void*) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

BIO* make_bio(BIO_METHOD* method, void* data) {
  BIO* bio = BIO_new(method);
  P2P_CHECK(bio != nullptr);
  BIO_set_data(bio, data);
  BIO_set_init(bio, 1);
  return bio;
}

}  // namespace

std::size_t TlsRecordReader::missing_for(std::size_t plaintext) const {
  if (record_left_ == 0) return kHeaderBytes - header_have_ + plaintext;
  const std::size_t overhead = kRecordOverhead - kHeaderBytes;
  const std::size_t in_record = record_bytes_ > overhead ? record_bytes_ - overhead : 0;
  return record_left_ + (plaintext > in_record ? plaintext - in_record : 0);
}

void TlsRecordReader::follow(std::span<const std::uint8_t> bytes) {
  while (!bytes.empty()) {
    if (record_left_ > 0) {
      const std::size_t taken = std::min(record_left_, bytes.size());
      record_left_ -= taken;
      bytes = bytes.subspan(taken);
      continue;
    }
    const std::size_t taken = std::min(kHeaderBytes - header_have_, bytes.size());
    std::memcpy(header_.data() + header_have_, bytes.data(), taken);
    header_have_ += taken;
    bytes = bytes.subspan(taken);
    if (header_have_ < kHeaderBytes) return;
    header_have_ = 0;
    record_bytes_ = record_left_ = static_cast<std::size_t>(header_[3] << 8 | header_[4]);
  }
}

BIO* make_reader_bio(TlsRecordReader& reader) {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "record reader");
    BIO_meth_set_read(made, read_socket);
    BIO_meth_set_ctrl(made, control_reader);
    return made;
  }();
  return make_bio(method, &reader);
}

BIO* make_vector_bio(std::vector<std::uint8_t>& out) {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "vector");
    BIO_meth_set_write(made, append_to_vector);
    BIO_meth_set_ctrl(made, control_vector);
    return made;
  }();
  return make_bio(method, &out);
}

}  // namespace p2p
