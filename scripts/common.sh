# Shared by ./test and ./demo: becoming root, checking the kernel, installing what is needed, building. To be sourced, in the project's root.
# Quiet where there is nothing to do; everything can be run again.

build_packages=(
  build-essential cmake ninja-build ccache pkg-config clang llvm bpftool libbpf-dev libelf-dev zlib1g-dev libprotobuf-dev protobuf-compiler
  libfmt-dev libcli11-dev libgtest-dev libgmock-dev libxxhash-dev libjemalloc-dev nlohmann-json3-dev
  python3 procps
)
demo_packages=(redis-server redis-tools)
test_packages=("${demo_packages[@]}" perl gdb strace nginx-light memcached wrk apache2-utils make)

# The rest of the script as root.
become_root() {
  [ "$(id -u)" = 0 ] && return
  if command -v sudo >/dev/null; then exec sudo -- "$@"; fi
  echo "$1 needs root: Perdure reads and restores kernel state; run it as root" >&2
  exit 1
}

check_kernel() {
  local release major minor
  release=$(uname -r)
  major=${release%%.*}
  minor=${release#*.}
  minor=${minor%%[!0-9]*}
  if [ "$major" -lt 6 ] || { [ "$major" -eq 6 ] && [ "$minor" -lt 7 ]; }; then
    echo "Perdure needs Linux 6.7 or newer, this is $release; on Debian 12: apt-get install -t bookworm-backports linux-image-amd64, and reboot" >&2
    exit 1
  fi
  if [ ! -e /sys/kernel/btf/vmlinux ]; then
    echo "this kernel ($release) was built without BTF (CONFIG_DEBUG_INFO_BTF), which Perdure needs" >&2
    exit 1
  fi
}

missing_packages() {
  local package
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || printf '%s\n' "$package"
  done
}

# Installs the packages named that are missing, without starting any service and without asking anything.
install_packages() (
  mapfile -t missing < <(missing_packages "$@")
  [ "${#missing[@]}" -eq 0 ] && exit 0
  echo "installing ${#missing[@]} Debian packages: ${missing[*]}"
  log=$(mktemp)
  policy=/usr/sbin/policy-rc.d
  placed_policy=
  # The trap runs however this subshell ends, so that the machine starts its services as before.
  trap 'rm -f "$log"; [ -n "$placed_policy" ] && rm -f "$policy"' EXIT
  trap 'exit 1' INT TERM HUP
  if [ ! -e "$policy" ]; then
    placed_policy=yes
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi
  export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
  apt=(apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold -o Acquire::Retries=3)
  run_with_dots "$log" "${apt[@]}" update || { cat "$log" >&2; echo "apt-get update failed" >&2; exit 1; }
  run_with_dots "$log" "${apt[@]}" install --no-install-recommends "${missing[@]}" || { cat "$log" >&2; echo "apt-get install failed" >&2; exit 1; }
)

# Runs a command with its output in a file, and a dot every two seconds to show that it lives.
run_with_dots() {
  local log=$1 pid status
  shift
  "$@" >"$log" 2>&1 </dev/null &
  pid=$!
  while kill -0 "$pid" 2>/dev/null; do
    sleep 2
    printf .
  done
  printf '\n'
  status=0
  wait "$pid" || status=$?
  return "$status"
}
