# shellcheck shell=bash disable=SC2034
#
# The target `local`: three servers and some agents as processes of this run, each server in a network namespace of its own.
#
# A hub namespace holds a bridge and the clients; each server has one namespace with one link to the bridge. To be sourced by
# chaos/scenario. Promises: namespaces carry the run's process id in the name, so runs side by side do not meet; no packet
# leaves them; nothing of the surroundings (SLOTKEEPER_* variables) reaches the servers; target_clean_up removes everything.
# Needs: root, iproute2; the programs SLOTKEEPER_BIN and CHAOS_BIN. SLOTKEEPER_SERVER_ARGS and SLOTKEEPER_AGENT_ARGS, split at
# blanks, are added to each server's and agent's command line.

TARGET_NEEDS=(netns http)
NET_PREFIX=10.77.0
HUB="slotkeeper-$$-hub"
SERVER_PIDS=([1]="" [2]="" [3]="")
AGENT_PIDS=()
LOCAL_NAMESPACES=()

server_ip() { echo "$NET_PREFIX.$1"; }
server_url() { echo "http://$NET_PREFIX.$1:7400"; }

# The number of the server with API address $1.
server_of() {
  [[ $1 =~ $NET_PREFIX\.([1-3])(:|$) ]] && echo "${BASH_REMATCH[1]}"
}

servers_list() { echo "$(server_url 1),$(server_url 2),$(server_url 3)"; }

# What stands before a command so that it runs where clients are.
CLIENT_PREFIX=(ip netns exec "$HUB")

in_net() {
  local number=$1
  shift
  ip netns exec "slotkeeper-$$-$number" "$@"
}

add_namespace() {
  ip netns add "$1"
  LOCAL_NAMESPACES+=("$1")
  ip -n "$1" link set lo up
}

make_network() {
  local number name
  add_namespace "$HUB"
  ip -n "$HUB" link add bridge0 type bridge
  ip -n "$HUB" address add "$NET_PREFIX.254/24" dev bridge0
  ip -n "$HUB" link set bridge0 up
  for number in "${SERVERS_ALL[@]}"; do
    name="slotkeeper-$$-$number"
    add_namespace "$name"
    ip -n "$HUB" link add "server$number" type veth peer name eth0 netns "$name"
    ip -n "$HUB" link set "server$number" master bridge0
    ip -n "$HUB" link set "server$number" up
    ip -n "$name" address add "$(server_ip "$number")/24" dev eth0
    ip -n "$name" link set eth0 up
  done
}

# Runs a command with nothing of our environment but what a program needs.
in_clean_environment() {
  exec env -i PATH="$PATH" HOME="$RUN_FOLDER" TMPDIR="$RUN_FOLDER" RUST_BACKTRACE=1 "$@"
}

server_start() {
  local number=$1 peers="$NET_PREFIX.1:7401,$NET_PREFIX.2:7401,$NET_PREFIX.3:7401" extra=()
  read -r -a extra <<<"${SLOTKEEPER_SERVER_ARGS:-}"
  mkdir -p "$RUN_FOLDER/server-$number"
  in_clean_environment ip netns exec "slotkeeper-$$-$number" "$SLOTKEEPER_BIN" server \
    --data-dir "$RUN_FOLDER/server-$number" --api-addr "$(server_ip "$number"):7400" \
    --peer-addr "$(server_ip "$number"):7401" --initial-cluster "$peers" ${extra[@]+"${extra[@]}"} \
    >>"$RUN_FOLDER/server-$number.log" 2>&1 </dev/null &
  SERVER_PIDS[number]=$!
  adopt_silently $!
}

start_agents() {
  local number extra=()
  read -r -a extra <<<"${SLOTKEEPER_AGENT_ARGS:-}"
  for number in $(seq 1 "$AGENTS"); do
    in_clean_environment ip netns exec "$HUB" "$SLOTKEEPER_BIN" agent --servers "$(servers_list)" \
      --id "agent-$number" --slots 8 ${extra[@]+"${extra[@]}"} >>"$RUN_FOLDER/agent-$number.log" 2>&1 </dev/null &
    AGENT_PIDS+=($!)
    adopt_silently $!
  done
}

target_open() {
  local number
  [ "$(id -u)" = 0 ] || invalid "the target local needs root, for network namespaces"
  [ -x "$SLOTKEEPER_BIN" ] || invalid "there is no program at $SLOTKEEPER_BIN (cargo build --release, or SLOTKEEPER_BIN)"
  at_end target_clean_up
  make_network
  for number in "${SERVERS_ALL[@]}"; do server_start "$number"; done
  start_agents
}

server_gone() { ended "${SERVER_PIDS[$1]}"; }

# Names the present life of server $1: it differs after a restart.
server_life() { echo "${SERVER_PIDS[$1]}"; }

server_kill() {
  signal KILL "${SERVER_PIDS[$1]}"
  await 5 server_gone "$1"
}

# Asks server $1 to end and waits $2 seconds for it; fails when it does not.
server_terminate() {
  signal TERM "${SERVER_PIDS[$1]}"
  await "$2" server_gone "$1"
}

server_freeze() { signal STOP "${SERVER_PIDS[$1]}"; }
server_thaw() { signal CONT "${SERVER_PIDS[$1]}"; }
server_frozen() { [ "$(state_of "${SERVER_PIDS[$1]}")" = T ]; }

# Prints what ended without being told to; prints nothing when all is as it should be.
unexpected_ends() {
  local item
  for item in "${SERVERS_ALL[@]}"; do
    ! server_gone "$item" || echo "server-$item"
  done
  for item in ${AGENT_PIDS[@]+"${AGENT_PIDS[@]}"}; do
    runs "$item" || echo "the agent with process id $item"
  done
}

target_clean_up() {
  local item
  for item in "${SERVER_PIDS[@]}" ${AGENT_PIDS[@]+"${AGENT_PIDS[@]}"}; do
    [ -z "$item" ] || signal KILL "$item"
  done
  for item in "${SERVER_PIDS[@]}" ${AGENT_PIDS[@]+"${AGENT_PIDS[@]}"}; do
    [ -z "$item" ] || await 5 ended "$item" || say "process $item does not end"
  done
  for item in ${LOCAL_NAMESPACES[@]+"${LOCAL_NAMESPACES[@]}"}; do ip netns delete "$item"; done
}
