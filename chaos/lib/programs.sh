# shellcheck shell=bash
#
# Where the programs are. To be sourced by a script of chaos/, which gives TOP, the top of the source tree.

# Prints the program $1 of Cargo's target folder, the release build first.
built_program() {
  local profile folder="${CARGO_TARGET_DIR:-$TOP/target}"
  for profile in release debug; do
    if [ -x "$folder/$profile/$1" ]; then
      echo "$folder/$profile/$1"
      return
    fi
  done
  echo "$folder/release/$1"
}
