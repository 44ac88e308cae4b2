# How everything of ours is compiled: warnings, sanitizers, compiler cache, linker.

find_program(CCACHE ccache)
if(CCACHE)
  # The precompiled header needs both sloppinesses, or every compilation that uses it is a miss.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros ${CCACHE})
endif()

add_library(p2p_options INTERFACE)
add_library(p2p::options ALIAS p2p_options)
target_compile_options(p2p_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor -Woverloaded-virtual
  # g++ 12 reports false positives of this one inside coroutine frames.
  -Wno-maybe-uninitialized
  # g++ 12 at -O2 takes "literal" + std::string for an overlapping copy (GCC bug 105651).
  -Wno-restrict
  # A designated initialiser that names what it sets and leaves the rest to defaults is meant.
  -Wno-missing-field-initializers
  -fstack-protector-strong)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CCACHE)
  target_compile_options(p2p_options INTERFACE -fpch-preprocess)
endif()
if(P2P_WERROR)
  target_compile_options(p2p_options INTERFACE -Werror)
endif()
target_include_directories(p2p_options INTERFACE ${PROJECT_SOURCE_DIR})

if(P2P_SANITIZE)
  add_compile_options(-fsanitize=${P2P_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${P2P_SANITIZE})
  if(P2P_SANITIZE MATCHES "undefined")
    add_compile_options(-fno-sanitize-recover=undefined)
  endif()
  if(P2P_SANITIZE MATCHES "thread")
    # Asio's standalone fences are invisible to ThreadSanitizer; g++ says so for every file.
    target_compile_options(p2p_options INTERFACE -Wno-tsan)
  endif()
  add_compile_definitions(BOOST_ASIO_DISABLE_AWAITABLE_FRAME_RECYCLING)
endif()

if(P2P_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "P2P_FUZZ needs clang: cmake --preset fuzz")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

find_program(LLD ld.lld)
if(LLD)
  add_link_options(-fuse-ld=lld)
endif()
