# shellcheck shell=bash disable=SC2034
#
# The target `compose`: the cluster that docker/compose-up started, with its containers as servers.
#
# To be sourced by chaos/scenario. Promises: starts and removes no container; whatever it stopped, paused or cut is started,
# unpaused and healed again at the end, also after a failure.
# Needs: a Docker engine on this machine (not a remote one), the running compose project SLOTKEEPER_PROJECT; root for cuts,
# which are made from outside, in the container's network namespace.

# shellcheck source=docker/engine.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../docker/engine.sh"

TARGET_NEEDS=(http)
SERVER_CONTAINERS=([1]="" [2]="" [3]="")
SERVER_URLS=([1]="" [2]="" [3]="")
RESTARTS_BEFORE=
# Longer than any single call of the engine should take.
ENGINE_SECONDS=60

engine() { timeout "$ENGINE_SECONDS" docker "$@"; }

inspect() { engine inspect --format "$2" "${SERVER_CONTAINERS[$1]}"; }

server_url() { echo "${SERVER_URLS[$1]}"; }
server_ip() { inspect "$1" '{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}' | awk '{ print $1 }'; }

# The number of the server with API address $1, which inside the project is its host name.
server_of() {
  [[ $1 =~ server-([1-3])(:|$) ]] && echo "${BASH_REMATCH[1]}"
}

servers_list() { echo "$(server_url 1),$(server_url 2),$(server_url 3)"; }

# What stands before a command so that it runs where clients are: the published ports are on this machine's loopback.
CLIENT_PREFIX=(env)

in_net() {
  local number=$1 pid
  shift
  pid=$(inspect "$number" '{{.State.Pid}}')
  [ "$pid" -gt 0 ] && nsenter --target "$pid" --net "$@"
}

find_url() {
  local address
  address=$(engine port "${SERVER_CONTAINERS[$1]}" 7400/tcp | awk 'NR == 1')
  [ -n "$address" ] && SERVER_URLS[$1]="http://$address"
}

# How often the engine has restarted each container of the project by itself.
restarts() {
  local container
  for container in $(containers_of_project); do
    engine inspect --format '{{.Name}} {{.RestartCount}}' "$container"
  done
}

target_open() {
  local number
  engine_answers || invalid "no Docker engine answers"
  for number in "${SERVERS_ALL[@]}"; do
    SERVER_CONTAINERS[number]=$(container_of "server-$number")
    [ -n "${SERVER_CONTAINERS[$number]}" ] ||
      invalid "the compose project $SLOTKEEPER_PROJECT has no container server-$number; docker/compose-up starts it"
    [ "$(inspect "$number" '{{.State.Status}}')" = running ] || invalid "the container server-$number does not run"
    find_url "$number" || invalid "the container server-$number publishes no API port"
  done
  at_end target_clean_up
  RESTARTS_BEFORE=$(restarts)
}

server_start() { engine start "${SERVER_CONTAINERS[$1]}" >/dev/null && find_url "$1"; }

server_gone() { [ "$(inspect "$1" '{{.State.Running}}')" = false ]; }

# Names the present life of server $1: it differs after a restart.
server_life() { inspect "$1" '{{.State.StartedAt}}'; }

server_kill() {
  engine kill --signal KILL "${SERVER_CONTAINERS[$1]}" >/dev/null || return 1
  await 10 server_gone "$1"
}

# Asks server $1 to end and waits $2 seconds for it; fails when the engine had to kill it.
server_terminate() {
  engine stop --time "$2" "${SERVER_CONTAINERS[$1]}" >/dev/null || return 1
  [ "$(inspect "$1" '{{.State.ExitCode}}')" != 137 ]
}

server_freeze() { engine pause "${SERVER_CONTAINERS[$1]}" >/dev/null; }
server_thaw() { engine unpause "${SERVER_CONTAINERS[$1]}" >/dev/null; }
server_frozen() { [ "$(inspect "$1" '{{.State.Paused}}')" = true ]; }

# Prints what ended without being told to; prints nothing when all is as it should be.
unexpected_ends() {
  local number
  for number in "${SERVERS_ALL[@]}"; do
    ! server_gone "$number" || echo "server-$number"
  done
  # A container that was stopped and started on purpose has its count at zero again; only what grew counts.
  join <(sort <<<"$RESTARTS_BEFORE") <(restarts | sort) | awk '$3 > $2 { print $1 " (restarted by the engine)" }'
}

target_clean_up() {
  local number
  heal_cuts
  for number in "${SERVERS_ALL[@]}"; do
    [ -n "${SERVER_CONTAINERS[$number]}" ] || continue
    ! server_frozen "$number" || server_thaw "$number"
    ! server_gone "$number" || server_start "$number"
    [ "$OUTCOME" = PASS ] || engine logs --tail 5000 "${SERVER_CONTAINERS[$number]}" >"$RUN_FOLDER/server-$number.log" 2>&1
  done
}
