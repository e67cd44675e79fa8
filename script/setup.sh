# SPDX-License-Identifier: Apache-2.0
# Sourced by the other scripts: finds Swift and the system packages, and installs what is missing.
# Nothing is installed without saying so; what needs more rights than you have is asked for first.

swift_needed="6.3"

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
  # RUNLEVEL=1: servers among them are tools here and are not started as services.
  as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2 ||
    die "Could not install: ${missing[*]}"
}

# need_swift: a toolchain of at least $swift_needed; --install-swift as the script's first word fetches one.
need_swift() {
  if [ "${install_swift:-}" = yes ] && ! command -v swift >/dev/null; then
    need_packages curl ca-certificates gnupg tar
    say "Installing Swift through swiftly, the Swift project's own installer, into your home folder."
    folder=$(mktemp -d)
    curl -fsSL "https://download.swift.org/swiftly/linux/swiftly-$(uname -m).tar.gz" | tar -xz -C "$folder" ||
      die "Could not fetch swiftly."
    "$folder/swiftly" init --assume-yes || die "swiftly could not install Swift."
    rm -rf "$folder"
    # shellcheck disable=SC1091
    . "${SWIFTLY_HOME_DIR:-$HOME/.local/share/swiftly}/env.sh"
  fi
  if ! command -v swift >/dev/null; then
    die "Swift $swift_needed or later is needed, and there is no 'swift' in PATH.
Get it from https://www.swift.org/install/linux, or let this script fetch it:  $0 --install-swift"
  fi
  version=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9]*\.[0-9]*\).*/\1/p' | head -n 1)
  if [ "$(printf '%s\n%s\n' "$swift_needed" "$version" | sort -V | head -n 1)" != "$swift_needed" ]; then
    die "Swift $swift_needed or later is needed; this is ${version:-unknown} ($(command -v swift))."
  fi
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
