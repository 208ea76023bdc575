# shellcheck shell=bash disable=SC2034
#
# The scenarios: which fault, how it is known to bite, how it is healed.
#
# To be sourced by chaos/scenario after a target, cluster.sh and cuts.sh. A scenario NAME consists of
#   needs_NAME     prints the probes of chaos/doctor that it can not do without
#   inject_NAME    makes the fault, and the run INVALID when the fault did not bite
#   holds_NAME     true while the fault still bites; looked at again before it is healed
#   heal_NAME      takes the fault away
# with the hyphens of the name as underscores. Promises: no scenario counts unless the effect of its fault was seen at its
# beginning and at its end; the servers that are left must serve within RECOVERY_SECONDS, or the run is a VIOLATION.

SCENARIOS=(kill stop-continue partition-leader partition-follower partition-one-way rolling-restart all-at-once)
# How long a server may take to end after it was asked to.
TERMINATE_SECONDS=20
# How long a process may take to be seen stopped, ended or cut off.
BITE_SECONDS=10
# How long a healed cluster may take to be whole again.
HEAL_SECONDS=60
VICTIM=

# Sets VICTIM to the leader.
choose_leader() {
  VICTIM=$(leader_among "${SERVERS_ALL[@]}") || invalid "no leader to act on"
  note "server $VICTIM leads"
}

# Sets VICTIM to a server that does not lead.
choose_follower() {
  choose_leader
  VICTIM=$(others_of "$VICTIM" | awk 'NR == 1')
}

# The servers other than the victim must go on without it.
expect_service_without_victim() {
  local others
  mapfile -t others < <(others_of "$VICTIM")
  await "$RECOVERY_SECONDS" lead_without "$VICTIM" "${others[@]}" ||
    violation "without server $VICTIM the others do not serve within $RECOVERY_SECONDS s"
  note "the others serve, server $(leader_among "${others[@]}" || echo '?') leads"
}

# kill: the leader's process is killed, and started again after the hold.

needs_kill() { :; }

inject_kill() {
  choose_leader
  note "kill server $VICTIM"
  server_kill "$VICTIM" || invalid "server $VICTIM does not end when killed"
  holds_kill || invalid "server $VICTIM was killed and still answers"
  expect_service_without_victim
}

holds_kill() { server_gone "$VICTIM" && silent "$VICTIM"; }

heal_kill() {
  note "start server $VICTIM"
  server_start "$VICTIM" || invalid "server $VICTIM can not be started again"
}

# stop-continue: the leader's process is stopped as a whole and goes on after the hold, unaware of the gap.

needs_stop_continue() { echo stop; }

inject_stop_continue() {
  choose_leader
  note "stop server $VICTIM"
  server_freeze "$VICTIM" || invalid "server $VICTIM can not be stopped"
  await "$BITE_SECONDS" holds_stop_continue || invalid "server $VICTIM was stopped and still runs or answers"
  expect_service_without_victim
}

holds_stop_continue() { server_frozen "$VICTIM" && silent "$VICTIM"; }

heal_stop_continue() {
  note "continue server $VICTIM"
  server_thaw "$VICTIM" || invalid "server $VICTIM can not be continued"
  ! server_frozen "$VICTIM" || invalid "server $VICTIM was continued and still stands"
}

# partition-leader and partition-follower: one server hears neither other server and is heard by none; clients reach all.

needs_partition_leader() { echo nft; }
needs_partition_follower() { echo nft; }

partition() {
  connected "$VICTIM" || invalid "the network around server $VICTIM is not whole before the cut"
  note "cut server $VICTIM off"
  cut_off "$VICTIM" || invalid "the cut around server $VICTIM can not be made"
  is_cut_off "$VICTIM" || invalid "pings still cross the cut around server $VICTIM"
  answers "$VICTIM" || invalid "clients do not reach server $VICTIM any more; the cut is wider than meant"
  expect_service_without_victim
}

inject_partition_leader() { choose_leader; partition; }
inject_partition_follower() { choose_follower; partition; }
holds_partition_leader() { is_cut_off "$VICTIM"; }
holds_partition_follower() { is_cut_off "$VICTIM"; }

rejoin() {
  note "heal the network around server $VICTIM"
  heal_cuts
  await "$BITE_SECONDS" connected "$VICTIM" || invalid "the network around server $VICTIM does not come back"
}

heal_partition_leader() { rejoin; }
heal_partition_follower() { rejoin; }

# partition-one-way: the leader is still heard by both others and hears neither.

needs_partition_one_way() { echo nft; }

inject_partition_one_way() {
  choose_leader
  connected "$VICTIM" || invalid "the network around server $VICTIM is not whole before the cut"
  note "make server $VICTIM deaf to the others"
  cut_one_way "$VICTIM" || invalid "the cut can not be made"
  is_deaf "$VICTIM" || invalid "the cut at server $VICTIM is not one-way"
  expect_service_without_victim
}

holds_partition_one_way() { is_deaf "$VICTIM"; }
heal_partition_one_way() { rejoin; }

# rolling-restart: every server is asked to end and started again, one after the other, the leader last.

needs_rolling_restart() { :; }

restart_gracefully() {
  local number=$1 life
  life=$(server_life "$number")
  note "ask server $number to end"
  server_terminate "$number" "$TERMINATE_SECONDS" ||
    violation "server $number does not end within $TERMINATE_SECONDS s of being asked to"
  server_gone "$number" || invalid "server $number ended and runs"
  note "start server $number"
  server_start "$number" || invalid "server $number can not be started again"
  await "$HEAL_SECONDS" whole || violation "the cluster is not whole within $HEAL_SECONDS s of the restart of server $number"
  [ "$(server_life "$number")" != "$life" ] || invalid "server $number was not restarted"
}

inject_rolling_restart() {
  local number
  choose_leader
  for number in $(others_of "$VICTIM"); do restart_gracefully "$number"; done
  restart_gracefully "$VICTIM"
}

# The restarts are over when the injection is; there is nothing to hold and nothing to heal.
holds_rolling_restart() { :; }
heal_rolling_restart() { :; }

# all-at-once: all three are killed together and started again.

needs_all_at_once() { :; }

inject_all_at_once() {
  local number
  note "kill all servers"
  for number in "${SERVERS_ALL[@]}"; do
    server_kill "$number" || invalid "server $number does not end when killed"
  done
  holds_all_at_once || invalid "a server was killed and still answers"
}

holds_all_at_once() {
  local number
  for number in "${SERVERS_ALL[@]}"; do server_gone "$number" && silent "$number" || return 1; done
}

heal_all_at_once() {
  local number
  note "start all servers"
  for number in "${SERVERS_ALL[@]}"; do
    server_start "$number" || invalid "server $number can not be started again"
  done
}
