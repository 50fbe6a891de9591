#!/usr/bin/env bash
# ./dev itself: a copy of it in a folder of its own, with an empty cache and a PATH that holds plain tools and stand-ins
# for everything that would install, download or enter something. Needs neither network nor rights.
# shellcheck disable=SC2016  # the lines of stand-ins are expanded where they run
set -uo pipefail

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
sandbox=$(mktemp -d)
trap 'rm -rf "$sandbox"' EXIT
failures=0

# --- the sandbox ---------------------------------------------------------------------------------------------------

plain_tools="awk basename bash cat chmod cp cut dirname env flock grep mkdir mktemp mv nproc paste readlink realpath rm sed
  sha256sum sleep stat tail tar touch true"

# A new case: who calls ./dev (0 is root), and what the case is about.
begin() {
  local uid=$1 tool
  title=$2
  rm -rf "${sandbox:?}"/*
  mkdir -p "$sandbox"/{bin,cache,checkout/third_party,checkout/recipes,home,system/usr,tmp}
  # As which user the tests run must not matter: the list of subordinate ids is the sandbox's, too.
  sed "s,/etc/subuid,$sandbox/subuid,g" "$checkout/dev" >"$sandbox/checkout/dev"
  chmod +x "$sandbox/checkout/dev"
  cp "$checkout/third_party/packages.txt" "$sandbox/checkout/third_party"
  echo "modifiers: []" >"$sandbox/checkout/recipes/empty.yaml"
  echo "someone:100000:65536" >"$sandbox/subuid"
  for tool in $plain_tools; do ln -s "$(type -P "$tool")" "$sandbox/bin/$tool"; done
  stand_in id "[ \$1 = -u ] && echo $uid || echo someone"
  stand_in df 'printf "Filesystem 1024-blocks Used Available\nall 0 0 99999999\n"'
}

# Puts a program on the PATH that notes how it was called, then runs the given lines.
stand_in() {
  printf '#!/usr/bin/env bash\necho "%s $*" >>"%s/calls"\n%s\n' "$1" "$sandbox" "$2" >"$sandbox/bin/$1"
  chmod +x "$sandbox/bin/$1"
}

private_root_tools() {
  stand_in newuidmap ''
  stand_in mmdebstrap "tar -c -C '$sandbox/system' ."
  # Like the real one, it dies of Ctrl-C unless told to ignore it, and takes the program inside along.
  stand_in bwrap '
    while :; do
      case $1 in
        --die-with-parent) shift ;;
        --tmpfs|--proc|--chdir|--unsetenv) shift 2 ;;
        --bind|--ro-bind|--dev-bind|--symlink|--setenv) shift 3 ;;
        *) break ;;
      esac
    done
    trap "kill -KILL \$program; trap - INT; kill -INT $$" INT
    "$@" <&0 &
    program=$!
    wait $program'
}

debian_13_on_host() {
  stand_in apt-cache 'echo "  Candidate: 2.6.0"'
  stand_in apt-get ''
  stand_in dpkg ''
}

in_sandbox() {
  cd "$sandbox/checkout" &&
    env -i --default-signal=INT PATH="$sandbox/bin" HOME="$sandbox/home" TMPDIR="$sandbox/tmp" SPARSIFY_CACHE="$sandbox/cache" "$@"
}

# Calls ./dev, with variables in front where wanted: dev SPARSIFY_TOOLCHAIN=host ./dev run true
dev() {
  output=$(in_sandbox "$@" 2>&1)
  status=$?
}

# The same, and Ctrl-C once $sandbox/started exists: as from a terminal, it goes to ./dev and all that ./dev started.
dev_interrupted() {
  set -m   # a process group of its own
  in_sandbox "$@" >"$sandbox/output" 2>&1 &
  local job=$! tenths
  set +m
  for ((tenths = 0; tenths < 300; ++tenths)); do [ -e "$sandbox/started" ] && break; sleep 0.1; done
  kill -INT -- "-$job"
  for ((tenths = 0; tenths < 300; ++tenths)); do kill -0 "$job" 2>/dev/null || break; sleep 0.1; done
  output=$(cat "$sandbox/output")
  if kill -KILL -- "-$job" 2>/dev/null; then output+=$'\n(was still running)'; fi
  wait "$job" 2>/dev/null
  status=$?
}

# --- what is expected ----------------------------------------------------------------------------------------------

expect() {
  "$@" && return
  failures=$((failures + 1))
  echo "FAILED: $title: $*"
  printf '  exit code %s, output:\n%s\n  calls:\n%s\n' "$status" "$output" "$(cat "$sandbox/calls" 2>/dev/null)" | sed 's/^/  /'
}

exits_with() { [ "$status" = "$1" ]; }
says() { [[ $output == *"$1"* ]]; }
calls() { grep -q "^$1" "$sandbox/calls" 2>/dev/null; }
holds() { grep -qs "$1" "$2"; }
is_file() { [ -f "$1" ]; }
not() { ! "$@"; }
private_roots() { find "$sandbox/cache" -maxdepth 1 -name 'debian13-*' | wc -l; }
keeps_roots() { [ "$(private_roots)" = "$1" ]; }
leaves_no_scratch() { [ -z "$(ls "$sandbox/tmp")" ]; }

# --- calls and settings --------------------------------------------------------------------------------------------

begin 0 "an unknown call"
dev ./dev tset
expect exits_with 1
expect says "usage: ./dev CALL"
expect says "unknown call 'tset'"

begin 0 "an unknown toolchain"
private_root_tools
dev SPARSIFY_TOOLCHAIN=container ./dev run true
expect exits_with 1
expect says "SPARSIFY_TOOLCHAIN is 'container'; expected host or private"
expect not calls mmdebstrap

# --- what is missing -----------------------------------------------------------------------------------------------

begin 0 "no tools for a private root, and no apt"
dev ./dev run true
expect exits_with 1
expect says "needs mmdebstrap bubblewrap: install them with this system's package manager"
expect not says "making a private Debian 13"

begin 1000 "no tools for a private root, and no rights"
stand_in apt-get 'exit 1'
dev ./dev run true
expect exits_with 1
expect says "have them installed (apt-get install mmdebstrap bubblewrap uidmap)"
expect not says "installing with apt"
expect not says "making a private Debian 13"

begin 1000 "a user without subordinate ids"
private_root_tools
echo "somebody-else:100000:65536" >"$sandbox/subuid"
dev ./dev run true
expect exits_with 1
expect says "usermod --add-subuids"
expect not calls mmdebstrap

begin 0 "too little space"
private_root_tools
stand_in df 'printf "Filesystem 1024-blocks Used Available\nall 0 0 2000000\n"'
dev ./dev run true
expect exits_with 1
expect says "has 1 GiB free; 3 are needed"
expect not calls mmdebstrap

# --- this machine's packages ---------------------------------------------------------------------------------------

begin 1000 "packages of this machine"
private_root_tools
debian_13_on_host
stand_in sudo '"$@"'
dev ./dev run bash -c 'echo inside'
expect exits_with 0
expect says "inside"
expect calls "apt-get install .*libtorch-dev"
expect not calls bwrap

begin 1000 "sudo that refuses: the private root takes over"
private_root_tools
debian_13_on_host
stand_in sudo 'echo "someone is not in the sudoers file." >&2; exit 1'
dev ./dev run bash -c 'echo inside'
expect exits_with 0
expect says "inside"
expect says "someone is not in the sudoers file."
expect says "apt could not install the packages on this machine: a private Debian 13 takes their place"
expect calls bwrap
expect not calls apt-get

begin 0 "an interrupted installation of packages is finished first"
debian_13_on_host
stand_in apt-get "[ \$1 = update ] || [ -e '$sandbox/configured' ]"
stand_in dpkg "[ \"\$1\" != --configure ] || touch '$sandbox/configured'"
dev ./dev run bash -c 'echo inside'
expect exits_with 0
expect says "inside"
expect calls "dpkg --configure -a"

# --- making the private root ---------------------------------------------------------------------------------------

begin 0 "a download that fails"
private_root_tools
touch "$sandbox/system/usr/half"
stand_in mmdebstrap "tar -c -C '$sandbox/system' .; echo 'E: cannot resolve the mirror' >&2; exit 25"
dev ./dev run true
expect exits_with 1
expect says "E: cannot resolve the mirror"
expect says "log: $sandbox/cache/set-up.log"
expect holds "E: cannot resolve the mirror" "$sandbox/cache/set-up.log"
expect keeps_roots 0
expect leaves_no_scratch
# Once the network is back, nothing of the failed attempt is in the way or left over.
rm "$sandbox/system/usr/half"
touch "$sandbox/system/usr/whole"
private_root_tools
dev ./dev run bash -c 'echo inside'
expect exits_with 0
expect says "inside"
expect is_file "$sandbox"/cache/debian13-*/usr/whole
expect not is_file "$sandbox"/cache/debian13-*/usr/half

title="a finished private root needs no network"
rm "$sandbox/calls"
for tool in mmdebstrap apt-get apt-cache sudo; do stand_in "$tool" 'exit 1'; done
dev ./dev run bash -c 'echo inside'
expect exits_with 0
expect says "inside"
expect not calls "mmdebstrap\|apt-get\|apt-cache\|sudo"
expect leaves_no_scratch

title="what an interrupted set-up left behind is made anew"
finished=$(echo "$sandbox"/cache/debian13-*)
rm "$finished/.complete"
touch "$finished/usr/stale"
cp -r "$finished" "$finished.partial"
private_root_tools
dev ./dev run bash -c 'echo inside'
expect exits_with 0
expect says "inside"
expect calls mmdebstrap
expect keeps_roots 1
expect is_file "$finished/usr/whole"
expect not is_file "$finished/usr/stale"

begin 0 "Ctrl-C during the set-up"
private_root_tools
stand_in mmdebstrap ": >'$sandbox/started'; exec sleep 60"
dev_interrupted ./dev run true
expect exits_with 130
expect keeps_roots 0
expect leaves_no_scratch

# --- programs inside -----------------------------------------------------------------------------------------------

for toolchain in private host; do
  begin 0 "exit codes and input ($toolchain)"
  private_root_tools
  dev SPARSIFY_TOOLCHAIN=$toolchain ./dev run bash -c 'read -r line; echo "read $line"; exit 7' <<<"something"
  expect exits_with 7
  expect says "read something"

  begin 0 "Ctrl-C: the program saves its work and its exit code comes through ($toolchain)"
  private_root_tools
  stand_in trainer "trap 'sleep 0.3; touch $sandbox/saved; exit 130' INT
    sleep 0.3; touch '$sandbox/started'
    while :; do sleep 0.1; done"
  dev_interrupted SPARSIFY_TOOLCHAIN=$toolchain ./dev run trainer
  expect exits_with 130
  expect is_file "$sandbox/saved"
  expect leaves_no_scratch
done

begin 0 "an interrupted build is not called a failed one"
stand_in cmake '[ $1 = --preset ] || exit 130'
dev SPARSIFY_TOOLCHAIN=host ./dev build
expect exits_with 130
expect not says "failed"
stand_in cmake '[ $1 = --preset ] || exit 2'
dev SPARSIFY_TOOLCHAIN=host ./dev build
expect exits_with 1
expect says "the build failed"

# --- test and test --long ------------------------------------------------------------------------------------------

begin 0 "test and test --long"
stand_in ctest ''
stand_in built ''
# What a build leaves behind: programs that only note that they were called.
stand_in cmake "[ \$1 = --build ] || exit 0
  mkdir -p \$2/bin
  for program in fuzz_recipe test_trainers; do sed s/built/\$program/ '$sandbox/bin/built' >\$2/bin/\$program; done
  chmod +x \$2/bin/*"
dev SPARSIFY_TOOLCHAIN=host ./dev test -R masks
expect exits_with 0
expect calls "ctest --test-dir build/release .*-LE long -R masks"
expect not calls "cmake .*san"
expect not calls fuzz_recipe
rm "$sandbox/calls"
dev SPARSIFY_TOOLCHAIN=host ./dev test --long -R masks
expect exits_with 0
expect calls "ctest --test-dir build/release .*-R masks"
expect not calls "ctest --test-dir build/release .*-LE long"
expect calls "cmake --build build/asan"
expect calls "ctest --test-dir build/asan .*-E ^(hygiene|dev|package|example): .*-LE long -R masks"
expect calls "cmake --build build/tsan --target test_trainers"
expect calls "test_trainers --filenames-as-tags \[#test_data],\[#test_loader]"
expect calls "fuzz_recipe -max_total_time=600"
stand_in ctest '[ $2 != build/asan ]'
dev SPARSIFY_TOOLCHAIN=host ./dev test --long
expect exits_with 1
expect says "tests failed (asan)"

[ "$failures" = 0 ] || { echo "$failures expectations failed"; exit 1; }
echo "all as expected"
