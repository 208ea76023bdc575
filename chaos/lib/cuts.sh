# shellcheck shell=bash
#
# Cuts of the network between servers, and the proof that a cut bites.
#
# To be sourced by chaos/scenario after a target, which gives: in_net N COMMAND (runs it inside the network of server N) and
# server_ip N. Promises: a cut lies only inside the network of the servers it names, in a table of its own name, and leaves
# clients alone, so that a server that was cut off can still be asked and must refuse by itself.
# Needs: root, nft, ping.

CUT_TABLE=slotkeeper_chaos
# The servers that carry a table of ours.
CUT_SERVERS=()

# True when server $1 gets an answer to a ping of server $2.
hears_back() { in_net "$1" ping -q -c 1 -W 1 "$(server_ip "$2")" >/dev/null 2>&1; }

# True when the network between server $1 and both others is whole.
connected() {
  local other
  for other in $(others_of "$1"); do hears_back "$1" "$other" && hears_back "$other" "$1" || return 1; done
}

addresses_of_others() {
  local other
  for other in $(others_of "$1"); do server_ip "$other"; done | paste -s -d ,
}

# Loads the rules on stdin into the network of server $1, as its table.
load_table() {
  CUT_SERVERS+=("$1")
  { echo "table inet $CUT_TABLE {"; cat; echo "}"; } | in_net "$1" nft -f -
}

# Cuts server $1 off from both others, in both directions.
cut_off() {
  local others
  others=$(addresses_of_others "$1")
  load_table "$1" <<RULES
  chain arriving {
    type filter hook input priority -300
    ip saddr { $others } counter drop
  }
  chain leaving {
    type filter hook output priority -300
    ip daddr { $others } counter drop
  }
RULES
}

# True when no ping crosses the cut around server $1, from either side.
is_cut_off() {
  local other
  for other in $(others_of "$1"); do ! hears_back "$1" "$other" && ! hears_back "$other" "$1" || return 1; done
}

# Makes server $1 deaf: it hears neither other server, while both still hear it. The others count its pings, to prove that.
cut_one_way() {
  local others other
  others=$(addresses_of_others "$1")
  for other in $(others_of "$1"); do
    load_table "$other" <<RULES
  counter heard {}
  chain arriving {
    type filter hook input priority -300
    ip saddr $(server_ip "$1") icmp type echo-request counter name heard
  }
RULES
  done
  load_table "$1" <<RULES
  chain arriving {
    type filter hook input priority -300
    ip saddr { $others } counter drop
  }
RULES
}

# The packets of server $1's pings that server $2 has counted.
pings_heard() {
  in_net "$2" nft list counter inet "$CUT_TABLE" heard | awk '$1 == "packets" { print $2 }'
}

# True when server $1 gets no answer although its pings arrive at both others.
is_deaf() {
  local other before
  for other in $(others_of "$1"); do
    before=$(pings_heard "$1" "$other")
    ! hears_back "$1" "$other" || return 1
    [ "$(pings_heard "$1" "$other")" -gt "$before" ] || return 1
  done
}

# Takes all cuts away. Never fails: the network of a server that has ended is gone by itself.
heal_cuts() {
  local number
  for number in ${CUT_SERVERS[@]+"${CUT_SERVERS[@]}"}; do
    in_net "$number" nft delete table inet "$CUT_TABLE" 2>/dev/null || true
  done
  CUT_SERVERS=()
}
