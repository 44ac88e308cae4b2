// fuzz_seeds FOLDER: writes each target's seeds to FOLDER/TARGET/, and prints the targets' names.
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "tests/fuzz/target.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: fuzz_seeds FOLDER\n");
    return 1;
  }
  for (const p2p::fuzz::Target& target : p2p::fuzz::targets()) {
    const std::filesystem::path folder = std::filesystem::path(argv[1]) / target.name;
    std::filesystem::create_directories(folder);
    int number = 0;
    for (const std::string& seed : target.seeds()) {
      std::ofstream file(folder / ("seed-" + std::to_string(++number)), std::ios::binary);
      file << seed;
      if (!file.flush()) {
        std::fprintf(stderr, "fuzz_seeds: cannot write below %s\n", folder.c_str());
        return 1;
      }
    }
    std::printf("%.*s\n", static_cast<int>(target.name.size()), target.name.data());
  }
  return 0;
}
