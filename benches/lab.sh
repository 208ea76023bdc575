# shellcheck shell=bash
#
# Sourced by the scripts of this folder: builds what they measure with, and becomes the laboratory.
#
# Promises: stands in the top folder, builds release programs only, leaves nothing behind but what it built.
# Needs: cargo.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
TARGET="${CARGO_TARGET_DIR:-$PWD/target}"

# build_programs NAME...
build_programs() { cargo build --quiet --locked --release "${@/#/--bin=}"; }

build_lab() { CARGO_TARGET_DIR="$TARGET/lab" cargo build --quiet --locked --release --manifest-path benches/lab/Cargo.toml; }

# laboratory WHAT [OPTIONS]: becomes the laboratory.
laboratory() { exec "$TARGET/lab/release/slotkeeper-lab" "$@"; }

install_etcd() {
  local as_root=()
  [ "$(id -u)" = 0 ] || as_root=(sudo -n)
  command -v etcd >/dev/null && return
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends etcd-server
}
