#include "p2pd/node_facts.h"

#include "tests/support/catch.h"

namespace p2p {
namespace {

TEST_CASE("os-release is read as a shell would, without its comments", "[p2pd]") {
  const auto os = parse_os_release(
      "# a comment with an = in it\nID=debian\nVERSION_ID=\"12\"\n"
      "PRETTY_NAME='Debian \\'bookworm\\''\nno assignment\nEMPTY=\n");
  CHECK(os.at("ID") == "debian");
  CHECK(os.at("VERSION_ID") == "12");
  CHECK(os.at("PRETTY_NAME") == "Debian 'bookworm'");
  CHECK(os.at("EMPTY").empty());
  CHECK(os.size() == 4);
}

TEST_CASE("meminfo says kB and means 1024 bytes", "[p2pd]") {
  const auto memory =
      parse_meminfo("MemTotal:       16 kB\nMemAvailable:  8 kB\nHugePages_Total:  3\n");
  CHECK(memory.at("MemTotal") == 16 * 1024);
  CHECK(memory.at("MemAvailable") == 8 * 1024);
  CHECK_FALSE(memory.contains("HugePages_Total"));
}

TEST_CASE("A processor that waits for a disk is not busy, and guests count once", "[p2pd]") {
  const CpuTimes times =
      parse_cpu_times("cpu  10 20 30 400 50 6 7 8 1000 2000\ncpu0 1 1 1 1 1 1 1 1 0 0\n");
  CHECK(times.busy == 10 + 20 + 30 + 6 + 7 + 8);
  CHECK(times.total == times.busy + 400 + 50);
  CHECK(parse_cpu_times("intr 5\n").total == 0);
}

TEST_CASE("Interfaces are counted but the loopback", "[p2pd]") {
  const auto net = parse_net_dev(
      "Inter-|   Receive |  Transmit\n face |bytes packets|bytes\n"
      "    lo: 99 1 0 0 0 0 0 0 99 1 0 0 0 0 0 0\n"
      "  eth0:1000 1 0 0 0 0 0 0 2000 1 0 0 0 0 0 0\n");
  REQUIRE(net.size() == 1);
  CHECK(net.at("eth0").received == 1000);
  CHECK(net.at("eth0").sent == 2000);
}

TEST_CASE("A disk is named once, where it is mounted first", "[p2pd]") {
  const auto mounts = parse_mounts(
      "proc /proc proc rw 0 0\noverlay / overlay rw 0 0\n/dev/sda1 /srv/my\\040data ext4 rw 0 0\n"
      "/dev/sda1 /bound ext4 rw 0 0\n/dev/loop3 /snap/x squashfs ro 0 0\ntank /tank zfs rw 0 0\n"
      "server:/x /net nfs rw 0 0\n");
  CHECK(mounts == std::vector<std::string>{"/", "/srv/my data", "/tank"});
}

TEST_CASE("Loop devices, RAM disks and drives are no disks", "[p2pd]") {
  for (const char* name : {"loop0", "ram1", "zram0", "sr0", "fd0"}) CHECK_FALSE(is_disk(name));
  for (const char* name : {"sda", "vda", "nvme0n1", "md0", "dm-3", "ramdisk", "srv"}) {
    CHECK(is_disk(name));
  }
}

TEST_CASE("Facts are cut to what may be sent", "[p2pd]") {
  std::map<std::string, std::string> values = {{"a", std::string(1000, 'x')}, {"b", ""}};
  for (int i = 0; i < 100; ++i) values["disk.d" + std::to_string(i)] = "1";
  const proto::Facts facts = fit_facts(values, std::vector<std::string>(100, "10.0.0.1"));
  CHECK(facts.values_size() == 64);
  CHECK(facts.addresses_size() == 64);
  CHECK(facts.values().at("a").size() == 255);
  CHECK_FALSE(facts.values().contains("b"));
}

TEST_CASE("Rates are what was counted in between, by the time that passed", "[p2pd]") {
  NodeSample before{.at_ns = 0, .cpu = {10, 100}, .net = {{"e", {100, 900}}, {"gone", {1, 1}}}};
  NodeSample after{
      .at_ns = 500'000'000, .cpu = {35, 200}, .net = {{"e", {600, 200}}, {"new", {5, 5}}}};
  proto::Figures figures;
  add_rates(before, after, figures);
  CHECK(figures.over_ms() == 500);
  CHECK(figures.cpu_busy() == Approx(0.25));
  REQUIRE(figures.interfaces_size() == 1);
  CHECK(figures.interfaces(0).received_bytes_per_second() == 1000);
  CHECK(figures.interfaces(0).sent_bytes_per_second() == 0);
}

TEST_CASE("This machine has a kernel, processors, memory and a root", "[p2pd]") {
  const proto::Facts facts = read_facts();
  for (const char* name : {"kernel", "arch", "cpus", "mem", "hostname"}) {
    INFO(name);
    CHECK(facts.values().contains(name));
  }
  const proto::Figures figures = figures_since(sample_node());
  CHECK(figures.memory_bytes() > figures.memory_available_bytes());
  CHECK(figures.memory_available_bytes() > 0);
  REQUIRE(figures.disks_size() > 0);
  CHECK(figures.disks(0).total_bytes() > 0);
}

}  // namespace
}  // namespace p2p
