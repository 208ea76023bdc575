# shellcheck shell=bash disable=SC2034
#
# One chaos run: its folder, its outcome, its processes and its waits.
#
# To be sourced by chaos/scenario. Promises:
#   - a run ends with exactly one of three words and statuses: PASS 0, VIOLATION 1, INVALID 2. Whatever the harness did not
#     foresee (a failed command, a signal) is INVALID, never a pass and never a finding about the program;
#   - every wait is bounded;
#   - a process is ended only if this run started it, recognised by its id together with its start time;
#   - the folder is removed after a pass, and kept and named otherwise.
# Needs: bash 4.4 or later, coreutils, a mounted /proc.

RUN_FOLDER=
RUN_KEEP=no
OUTCOME=
# Functions to call at the end, the last one first.
CLEAN_UPS=()
declare -A STARTED_AT

say() { printf '%s chaos: %s\n' "$(date -u +%H:%M:%S)" "$*" >&2; }

# Says and notes, with the time in milliseconds, what was done to the cluster; the file lies beside the recorded history.
note() {
  printf '%s %s\n' "$(date +%s%3N)" "$*" >>"$RUN_FOLDER/faults.log"
  say "$*"
}

# Ends the run: $1 is PASS, VIOLATION or INVALID, the rest says why.
finish() {
  OUTCOME=$1
  shift
  if [ -n "$RUN_FOLDER" ]; then note "$OUTCOME: $*"; else say "$OUTCOME: $*"; fi
  printf '%s %s\n' "$OUTCOME" "$*"
  case "$OUTCOME" in
    PASS) exit 0 ;;
    VIOLATION) exit 1 ;;
    *) exit 2 ;;
  esac
}

invalid() { finish INVALID "$@"; }
violation() { finish VIOLATION "$@"; }

on_exit() {
  local status=$?
  trap - EXIT INT TERM HUP
  if [ -z "$OUTCOME" ]; then
    OUTCOME=INVALID
    say "INVALID: the harness itself failed with status $status"
    echo "INVALID the harness itself failed"
    status=2
  fi
  # Clean-up goes on after an error: what can be removed is removed.
  set +e
  local index
  for ((index = ${#CLEAN_UPS[@]} - 1; index >= 0; index--)); do "${CLEAN_UPS[index]}"; done
  if [ "$OUTCOME" != PASS ] || [ "$RUN_KEEP" = yes ]; then
    [ -z "$RUN_FOLDER" ] || say "logs, history and data are in $RUN_FOLDER"
  elif [ -n "$RUN_FOLDER" ]; then
    rm -rf "$RUN_FOLDER"
  fi
  exit "$status"
}

# Has function $1 called at the end of the run, whatever the outcome is.
at_end() { CLEAN_UPS+=("$1"); }

# Makes the run's folder and arranges the end.
open_run() {
  RUN_FOLDER=$(mktemp -d "${TMPDIR:-/tmp}/slotkeeper-chaos.XXXXXX")
  trap on_exit EXIT
  trap 'invalid "interrupted"' INT TERM HUP
}

# Waits up to $1 seconds until the command $2... succeeds. Fails when the time is over.
await() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.2
  done
}

# The start time of process $1 in clock ticks since boot; with the id it names a process for good. The name of the program
# stands in brackets before it and may hold anything, so that is cut off first.
start_time_of() {
  local line fields
  { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
  read -r -a fields <<<"${line##*) }"
  echo "${fields[19]}"
}

# The state letter of process $1 as the kernel gives it: R, S, D, T (stopped), Z (ended, not yet reaped).
state_of() {
  local line
  { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
  line=${line##*) }
  echo "${line%% *}"
}

# Remembers process $1, which this shell has just started in the background.
adopt() { STARTED_AT[$1]=$(start_time_of "$1") || STARTED_AT[$1]=gone; }

# The same, and the shell says nothing when the process is killed; its status can not be asked for then.
adopt_silently() {
  adopt "$1"
  disown "$1"
}

# True while process $1, which this run adopted, is the same process and has not ended.
runs() {
  local started
  started=$(start_time_of "$1") || return 1
  [ "$started" = "${STARTED_AT[$1]-}" ] && [ "$(state_of "$1")" != Z ]
}

ended() { ! runs "$1"; }

# Sends signal $1 to process $2 if it is still the one that this run started.
signal() { ! runs "$2" || kill "-$1" "$2" 2>/dev/null || true; }

# Sets EXIT_STATUS to the status with which process $1, which was not adopted silently, ended; it must have ended.
reap() {
  EXIT_STATUS=0
  wait "$1" 2>/dev/null || EXIT_STATUS=$?
}

# Ends process $1 of this run: asks, waits $2 seconds, then kills.
end_process() {
  signal CONT "$1"
  signal TERM "$1"
  await "$2" ended "$1" || { signal KILL "$1"; await 5 ended "$1" || true; }
  reap "$1"
}
