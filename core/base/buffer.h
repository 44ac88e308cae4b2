// A run of bytes on the heap.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace p2p {

// Not initialised: what is read into it need not be written twice.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t size) : bytes_(new std::uint8_t[size]), size_(size) {}

  std::uint8_t* data() { return bytes_.get(); }
  const std::uint8_t* data() const { return bytes_.get(); }
  std::size_t size() const { return size_; }
  std::span<const std::uint8_t> span() const { return {bytes_.get(), size_}; }
  std::span<std::uint8_t> span() { return {bytes_.get(), size_}; }

 private:
  std::unique_ptr<std::uint8_t[]> bytes_;
  std::size_t size_ = 0;
};

}  // namespace p2p
