# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154  # variables of the sourcing script
# growth.sh: the part of bench/run that compares few customers with many. Source it.
#
# Everything is warm and fits into memory: what is left is what more customers cost. Sizes
# take turns within a round, in the other order every second time and in runs three times as
# long as others', and rounds are compared, not medians of sizes: what drifts would look like growth. Where millions of customers are,
# so are huge pages; reserve them first (sysctl vm.nr_hugepages), or page faults of backends
# that see a page of shared memory for the first time are a part of the figures.

read -ra growth_sizes <<<"${BENCH_CUSTOMERS:-1000 100000}"

# Warm customers $1 to $2: looking fills shared memory as counting does.
warm() { ask "SELECT count(skene_allows(g::text, 'export')) FROM generate_series($1, $2) g" >/dev/null; }

# The size of the pages that the server's shared memory is made of.
page_size() {
  awk '/^KernelPageSize:/ && $2 > size { size = $2 } END { print size " kB" }' \
    "/proc/$(head -1 "$scratch/data/postmaster.pid")/smaps"
}

# A server with room for $1 customers, who used something before it started. There is no
# checkpoint but those we ask for: the first change of a page after one writes all of it
# into the WAL, which with production's minutes between checkpoints is soon past.
start_big_server() {
  restart_server "skene_gate.max_windows = $(($1 + $1 / 20 + 20000))" \
    "shared_buffers = $((512 + $1 / 2500))MB" "max_wal_size = 16GB" "checkpoint_timeout = 1h"
  ask "CALL bench.grow($1)"
  [ "$(ask "SELECT count(*) FROM skene.windows")" = 0 ] || die "windows are warm already"
  fact 'shared memory of growth' "$(ask "SHOW shared_memory_size"), in pages of $(page_size)"
}

# Look at all of $1 customers once, then change pages past their first change.
make_warm() {
  local case warming
  warm 1 $(($1 / 2)) &
  warming=$!
  warm $(($1 / 2 + 1)) "$1"
  wait $warming
  [ "$(ask "SELECT count(*) FROM skene.windows")" -ge "$1" ] || die "not all windows are warm"
  ask CHECKPOINT
  for case in update consume_distinct; do
    run_case $case 32 -t $(($1 / 20 / 32)) -D customers="$1"
    sample "first_$case" $(($1 / 20)) 1 tps "$tps"
  done
  prove_exact consume_distinct "$calls"
}

# growth_round ROUND SIZE...: a run of each case for each size; adds to $counted.
growth_round() {
  local round=$1 case size
  shift
  for case in update consume_distinct; do
    for size in "$@"; do
      run_case $case 32 -T $((seconds * 3)) -D customers="$size"
      sample $case "$size" "$round" tps "$tps"
      counts $case || continue
      counted=$((counted + calls))
      settle
      sample $case "$size" "$round" drain "$drained"
    done
  done
}

growth() {
  local round size cold counted=0 before most=$customers backwards=()
  for size in "${growth_sizes[@]}"; do
    most=$((size > most ? size : most))
    backwards=("$size" "${backwards[@]}")
  done
  cold=$((most < 500000 ? most : 500000))
  say "growth, $most customers"
  start_big_server "$most"
  say "growth, cold"
  run_case consume_cold 32 -t $((cold / 32))
  sample consume_cold "$cold" 1 tps "$tps"
  prove_exact consume_cold "$calls"
  say "growth, warming up"
  make_warm "$most"
  before=$(units)
  for ((round = 1; round <= runs; round++)); do
    say "growth, round $round of $runs"
    if ((round % 2)); then
      growth_round "$round" "${growth_sizes[@]}"
    else
      growth_round "$round" "${backwards[@]}"
    fi
  done
  units_before=$before
  prove_exact consume_distinct "$counted"
}
