# Every third-party part, found once (Debian 12 packages; tools/packages lists them).

find_package(Threads REQUIRED)
find_package(Boost 1.81 REQUIRED)
find_package(OpenSSL 3 REQUIRED)
find_package(Protobuf REQUIRED)
find_package(spdlog REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(CLI11 REQUIRED)
if(P2P_TESTS)
  find_package(Catch2 2 REQUIRED)
endif()

find_path(XXHASH_INCLUDE_DIR xxhash.h REQUIRED)
find_library(XXHASH_LIBRARY xxhash REQUIRED)
add_library(p2p_xxhash INTERFACE)
target_include_directories(p2p_xxhash SYSTEM INTERFACE ${XXHASH_INCLUDE_DIR})
target_link_libraries(p2p_xxhash INTERFACE ${XXHASH_LIBRARY})
add_library(p2p::xxhash ALIAS p2p_xxhash)

find_path(RSYNC_INCLUDE_DIR librsync.h REQUIRED)
find_library(RSYNC_LIBRARY rsync REQUIRED)
add_library(p2p_librsync INTERFACE)
target_include_directories(p2p_librsync SYSTEM INTERFACE ${RSYNC_INCLUDE_DIR})
target_link_libraries(p2p_librsync INTERFACE ${RSYNC_LIBRARY})
add_library(p2p::librsync ALIAS p2p_librsync)

# Debian's own target asks for the development files of snappy, which the shared library has inside.
find_path(LEVELDB_INCLUDE_DIR leveldb/db.h REQUIRED)
find_library(LEVELDB_LIBRARY leveldb REQUIRED)
add_library(p2p_leveldb INTERFACE)
target_include_directories(p2p_leveldb SYSTEM INTERFACE ${LEVELDB_INCLUDE_DIR})
target_link_libraries(p2p_leveldb INTERFACE ${LEVELDB_LIBRARY})
add_library(p2p::leveldb ALIAS p2p_leveldb)
