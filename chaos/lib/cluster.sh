# shellcheck shell=bash disable=SC2034
#
# What a run asks of the cluster over its API, whatever the target is: who leads, who serves.
#
# To be sourced by chaos/scenario after a target (target-local.sh or target-compose.sh), which gives: server_url N,
# server_of ADDRESS, as_client COMMAND. Promises: reads only; each request is bounded to four seconds; an answer counts as
# the leader only if two of the three servers agree, so that a server that was cut off can not name itself.
# Needs: curl, jq.

SERVERS_ALL=(1 2 3)
# How long the servers left over may take to serve again. The product's own bar is much lower and is measured elsewhere; this
# one tells "slow machine" from "stands still".
RECOVERY_SECONDS="${CHAOS_RECOVERY_SECONDS:-20}"

# The body of GET $2 at server $1; fails when there is no answer with a status below 400 in time.
ask() { "${CLIENT_PREFIX[@]}" curl --silent --fail --max-time 4 "$(server_url "$1")$2" 2>/dev/null; }

# True when server $1 answers at all.
answers() { ask "$1" /livez >/dev/null; }

silent() { ! answers "$1"; }

# True when all the servers given say that they can serve.
ready() {
  local number
  for number in "$@"; do ask "$number" /readyz >/dev/null || return 1; done
}

# The number of the server that server $1 takes for the leader; fails when it knows none.
leader_seen_by() {
  local address
  address=$(ask "$1" /v1/cluster |
    jq -r '.leader_id as $leader | .members[]? | select(.node_id == $leader and $leader != null) | .api_addr') || return 1
  [ -n "$address" ] && server_of "$address"
}

# Prints the leader that at least two of the servers given agree on; fails when there is none.
leader_among() {
  local number seen
  local -A votes=()
  for number in "$@"; do
    seen=$(leader_seen_by "$number") || continue
    votes[$seen]=$((${votes[$seen]:-0} + 1))
    if [ "${votes[$seen]}" -ge 2 ]; then
      echo "$seen"
      return 0
    fi
  done
  return 1
}

# True when the servers $2... agree on a leader, which is not server $1, and serve.
lead_without() {
  local lost=$1 leader
  shift
  leader=$(leader_among "$@") && [ "$leader" != "$lost" ] && ready "$@"
}

# All servers but $1.
others_of() {
  local number
  for number in "${SERVERS_ALL[@]}"; do [ "$number" = "$1" ] || echo "$number"; done
}

# True when all three serve and agree on a leader.
whole() { leader_among "${SERVERS_ALL[@]}" >/dev/null && ready "${SERVERS_ALL[@]}"; }
