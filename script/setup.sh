# SPDX-License-Identifier: Apache-2.0
# Sourced by the other scripts: finds Swift and the system packages, and installs what is missing.
# Nothing is installed without saying so; what needs more rights than you have is asked for first.

swift_needed="6.3"
# What a build needs beside Swift; g++: libstdc++ for static links, which Swift's own list of packages leaves out.
# shellcheck disable=SC2034
build_packages=(g++ git libsqlite3-dev zlib1g-dev libbrotli-dev libzstd-dev)

say() { printf '%s\n' "$*" >&2; }

die() {
  say "$*"
  exit 2
}

# as_root COMMAND…: runs it with the rights it needs, after asking where it is not the machine's own business.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
    return
  fi
  command -v sudo >/dev/null || die "This needs root, and there is no sudo here: $*"
  if [ "${CI:-}" != true ]; then
    [ -t 0 ] || die "Run this yourself, then start again: sudo $*"
    printf 'Run with sudo: %s\nGo on? [y/N] ' "$*" >&2
    read -r answer
    [ "$answer" = y ] || [ "$answer" = Y ] || die "Not installed."
  fi
  sudo "$@"
}

# need_packages NAME…: Debian packages that must be there.
need_packages() {
  if ! command -v dpkg-query >/dev/null; then
    say "This is not Debian or Ubuntu: make sure that the equivalents of these are installed: $*"
    return
  fi
  missing=()
  for name in "$@"; do
    [ "$(dpkg-query -W -f '${Status}' "$name" 2>/dev/null)" = "install ok installed" ] || missing+=("$name")
  done
  [ ${#missing[@]} = 0 ] && return
  say "Installing system packages: ${missing[*]}"
  as_root apt-get update -qq || say "apt-get update failed; going on with the lists that are there."
  # Servers among them are tools here: they are not started now (RUNLEVEL=1), and not with the machine either.
  # shellcheck disable=SC2016
  as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 sh -c '
    apt-get install -y -qq --no-install-recommends "$@" || exit
    for server in prometheus haproxy nginx; do
      case " $* " in *" $server"*) systemctl disable --quiet "$server" 2>/dev/null ;; esac
    done
    true' sh "${missing[@]}" >&2 ||
    die "Could not install: ${missing[*]}"
}

# swift_version: what `swift` in PATH calls itself, as 6.3; nothing if there is none.
swift_version() {
  command -v swift >/dev/null || return 0
  swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9]*\.[0-9]*\).*/\1/p' | head -n 1
}

# is_swift_enough VERSION: whether it is at least $swift_needed.
is_swift_enough() {
  [ -n "$1" ] && [ "$(printf '%s\n%s\n' "$swift_needed" "$1" | sort -V | head -n 1)" = "$swift_needed" ]
}

# fetch_swiftly FOLDER: the installer of the Swift project, its signature proved against the project's keys, in FOLDER.
# SWIFTLY_URL and SWIFT_KEYS_URL name mirrors, for machines that reach nothing else.
fetch_swiftly() {
  local from=${SWIFTLY_URL:-https://download.swift.org/swiftly/linux} archive name
  archive=swiftly-$(uname -m).tar.gz
  for name in "$archive" "$archive.sig"; do
    curl -fsSL -o "$1/$name" "$from/$name" || { say "Could not fetch $from/$name."; return 1; }
  done
  name=${SWIFT_KEYS_URL:-https://www.swift.org/keys/all-keys.asc}
  curl -fsSL -o "$1/keys.asc" "$name" || { say "Could not fetch $name."; return 1; }
  # A keyring of its own: yours is not touched, and none of your keys can vouch for the archive.
  mkdir -m 700 "$1/keyring"
  gpg --homedir "$1/keyring" --quiet --import "$1/keys.asc" 2>/dev/null || { say "$name holds no keys."; return 1; }
  gpg --homedir "$1/keyring" --quiet --verify "$1/$archive.sig" "$1/$archive" 2>/dev/null ||
    { say "The signature of $from/$archive is not good; it is not unpacked."; return 1; }
  tar -xzf "$1/$archive" -C "$1" || { say "$from/$archive cannot be unpacked."; return 1; }
}

# install_toolchain FOLDER: Swift $swift_needed by swiftly, and the system packages that it says it needs.
install_toolchain() {
  fetch_swiftly "$1" || return 1
  "$1/swiftly" init --assume-yes --skip-install --quiet-shell-followup >&2 || { say "swiftly init failed."; return 1; }
  # shellcheck disable=SC1091
  . "${SWIFTLY_HOME_DIR:-$HOME/.local/share/swiftly}/env.sh"
  hash -r
  swiftly install --assume-yes --use --post-install-file="$1/packages.sh" "$swift_needed" >&2 ||
    { say "swiftly could not install Swift $swift_needed."; return 1; }
  hash -r
  if [ -f "$1/packages.sh" ]; then
    say "Swift needs system packages:"
    say "$(cat "$1/packages.sh")"
    as_root sh "$1/packages.sh" >&2 || { say "Its system packages could not be installed."; return 1; }
  fi
}

# need_swift: a toolchain of at least $swift_needed; --install-swift as the script's first word fetches one.
need_swift() {
  local version folder done=0
  version=$(swift_version)
  if [ "$install_swift" = yes ] && ! is_swift_enough "$version"; then
    need_packages curl ca-certificates gnupg tar
    say "Installing Swift $swift_needed through swiftly, the Swift project's own installer, into your home folder."
    folder=$(mktemp -d)
    install_toolchain "$folder" || done=$?
    rm -rf "$folder"
    [ $done = 0 ] || die "Swift was not installed."
    version=$(swift_version)
  fi
  if ! command -v swift >/dev/null; then
    die "Swift $swift_needed or later is needed, and there is no 'swift' in PATH.
Get it from https://www.swift.org/install/linux, or let this script fetch it:  $0 --install-swift"
  fi
  is_swift_enough "$version" ||
    die "Swift $swift_needed or later is needed; this is ${version:-unknown} ($(command -v swift)).
Get it from https://www.swift.org/install/linux, or let this script fetch it:  $0 --install-swift"
}

# need_python: the Python packages that the tests judge with (a browser's driver, a JSON Schema validator), in a folder of
# the build's own.
need_python() {
  need_packages python3-venv
  local venv=.build/python
  if [ ! -x "$venv/bin/python3" ]; then
    say "Installing the Python packages of the tests into $venv"
    python3 -m venv "$venv"
  fi
  "$venv/bin/pip" install -q --disable-pip-version-check -r Tests/requirements.txt ||
    die "Could not install the Python packages of Tests/requirements.txt."
  export PATH="$PWD/$venv/bin:$PATH"
}

install_swift=no
if [ "${1:-}" = --install-swift ]; then
  install_swift=yes
  shift
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
