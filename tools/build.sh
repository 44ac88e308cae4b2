# Configures and builds a preset quietly. Sourced by tools/test and tools/demo, from the
# repository's root.

# $1: preset; the rest: targets (none: everything). On a terminal ninja shows its one moving line;
# elsewhere the output goes to a file, with a sign of life every 15 seconds; failures are shown.
p2p_build() {
  local preset=$1
  shift
  local folder=build/$preset
  local log=$folder/build.log
  local -a build=(cmake --build --preset "$preset" --parallel "$(nproc)")
  [ $# -gt 0 ] && build+=(--target "$@")
  mkdir -p "$folder"

  # Ninja configures again by itself when a CMakeLists.txt changes, but does not look at presets.
  if [ ! -e "$folder/build.ninja" ] || [ CMakePresets.json -nt "$folder/build.ninja" ]; then
    echo "build: cmake --preset $preset" >&2
    if ! cmake --preset "$preset" >"$folder/configure.log" 2>&1; then
      tail -n 40 "$folder/configure.log" >&2
      echo "build: configuring failed; the whole output is in $folder/configure.log" >&2
      return 1
    fi
  fi

  if [ -t 2 ]; then
    "${build[@]}" >&2
    return
  fi
  while sleep 15 >/dev/null 2>&1; do tail -n 1 "$log" | grep '^\[' | cut -c 1-100 >&2; done &
  local life=$! code=0
  "${build[@]}" >"$log" 2>&1 || code=$?
  kill "$life" 2>/dev/null
  wait "$life" 2>/dev/null
  if [ "$code" -ne 0 ]; then
    grep -A 12 -E 'FAILED|error:|Error' "$log" | head -n 80 >&2
    echo "build: failed; the whole output is in $log" >&2
  fi
  return "$code"
}
