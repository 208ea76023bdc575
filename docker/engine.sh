# shellcheck shell=bash
#
# What the scripts of this folder and of chaos/ agree on about the Docker engine: which compose program, which project,
# which images, and how to find the containers of a service.
#
# To be sourced. Promises: functions only, no output unless asked, nothing is started or changed by sourcing it.
# Needs: bash 4.4 or later; docker and docker-compose (or the compose plugin) only when a function is called.

# The compose project; two clusters side by side need two names and two sets of ports.
SLOTKEEPER_PROJECT="${SLOTKEEPER_PROJECT:-slotkeeper}"

# True when an engine answers within ten seconds.
engine_answers() {
  command -v docker >/dev/null && timeout 10 docker info >/dev/null 2>&1
}

# Runs compose with the arguments given: the plugin of the docker program, or docker-compose. Fails with 127 when there is neither.
compose() {
  if timeout 10 docker compose version >/dev/null 2>&1; then
    docker compose "$@"
  elif command -v docker-compose >/dev/null; then
    docker-compose "$@"
  else
    return 127
  fi
}

# True when a compose program is installed.
compose_answers() {
  compose version >/dev/null 2>&1
}

# Runs `docker build`, with the legacy builder where the engine's client has no other.
build_image() {
  if timeout 10 docker buildx version >/dev/null 2>&1; then
    docker build "$@"
  else
    DOCKER_BUILDKIT=0 docker build "$@"
  fi
}

# The container of service $1, running or not; empty when there is none. Both generations of compose set these labels.
container_of() {
  docker ps --all --quiet --no-trunc \
    --filter "label=com.docker.compose.project=$SLOTKEEPER_PROJECT" \
    --filter "label=com.docker.compose.service=$1" | awk 'NR == 1'
}

# The containers of the whole project, running or not.
containers_of_project() {
  docker ps --all --quiet --no-trunc --filter "label=com.docker.compose.project=$SLOTKEEPER_PROJECT"
}

# The health that the engine sees in container $1: healthy, unhealthy, starting, or its state when it does not run.
health_of() {
  docker inspect --format \
    '{{if not .State.Running}}{{.State.Status}}{{else if .State.Health}}{{.State.Health.Status}}{{else}}unchecked{{end}}' "$1"
}
