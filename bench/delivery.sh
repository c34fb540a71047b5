# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154  # variables of the sourcing script
# delivery.sh: the part of bench/run that sends messages, to providers of its own
# (provider.cpp), each in a request of its own and with no limit of the rate. The path of a
# message says how long its answer takes. Source it.
#
# After every run each message is sent, was asked for once, and nobody else was asked.

messages=${BENCH_MESSAGES:-10000}
in_flight=256
declare -A provider=() url=() # pid and URL of each provider

start_providers() {
  local name
  "${CXX:-c++}" -std=gnu++20 -O2 -o "$scratch/provider" bench/provider.cpp
  for name in resend stripe; do
    "$scratch/provider" "$scratch/$name.port" &
    provider[$name]=$!
    until [ -s "$scratch/$name.port" ]; do sleep 0.05; done
    url[$name]=http://127.0.0.1:$(cat "$scratch/$name.port")
  done
}

stop_providers() {
  local pid
  for pid in "${provider[@]}"; do kill "$pid"; done
}

get() { # URL
  python3 -c 'import sys, urllib.request
sys.stdout.write(urllib.request.urlopen(sys.argv[1]).read().decode())' "$1"
}

# What a provider was asked since the last time: "microseconds key", a line each.
requests() { get "${url[$1]}/requests"; }

configure() { # SETTING=VALUE...
  local setting
  for setting in "$@"; do ask "ALTER SYSTEM SET skene_gate.${setting%%=*} = '${setting#*=}'"; done
  ask "SELECT pg_reload_conf()" >/dev/null
}

until_true() { # QUERY
  local from=$SECONDS
  until [ "$(ask "SELECT $1")" = t ]; do
    [ $((SECONDS - from)) -lt 120 ] || die "waited in vain for: $1"
    sleep "${2:-0.05}"
  done
}

worker() { ask "SELECT pid FROM skene_status()"; }

# The provider's own rate, measured without us.
ceiling() { # DELAY CLIENTS CALLS
  command -v ab >/dev/null || return 0
  head -c 600 /dev/zero | tr '\0' x >"$scratch/body"
  sample provider "$1" "$round" tps "$(ab -q -k -c "$2" -n "$3" -p "$scratch/body" -T application/json \
    -H 'Idempotency-Key: x' "${url[resend]}/$1/emails" | awk '/^Requests per second/ { print $4 }')"
  requests resend >/dev/null
}

# enqueue_messages PROVIDER PATH COUNT: nothing is sent of it yet.
enqueue_messages() {
  ask "SELECT skene_pause('$1')" >/dev/null
  ask "INSERT INTO skene.outbox (provider, path, body, idempotency_key)
       SELECT '$1', '$2', json_build_object('from', 'Acme <hello@acme.test>', 'to', 'u' || g || '@example.com',
                'subject', 'You have reached your limit', 'text', repeat('You have reached your limit. ', 15)),
              gen_random_uuid() FROM generate_series(1, $3) g"
}

# The same, for prompts of new customers: rendered, and checked again before they go.
enqueue_prompts() { # COUNT
  ask "SELECT skene_pause('resend')" >/dev/null
  ask "DELETE FROM skene.prompts"
  ask "INSERT INTO skene.customers (user_id, email, anchor)
       SELECT 'mail' || g, 'mail' || g || '@example.com', now() FROM generate_series(1, $1) g ON CONFLICT DO NOTHING"
  ask "INSERT INTO skene.prompts (user_id, feature, period, window_start, window_end, kind, plan,
                                  first_denied_at, last_denied_at)
       SELECT 'mail' || g, 'mail', '30d', now(), now() + interval '30 d', 'limit_reached', 'free', now(), now()
         FROM generate_series(1, $1) g"
}

ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }

# drain SUBJECT DELAY: send what is enqueued, and prove it; samples of the rate ($rate), and of
# the CPU that the worker, the whole server and the provider needed for one message.
drain() {
  local begun worker_pid worker_before server_before provider_before count asked
  count=$(ask "SELECT count(*) FROM skene.outbox WHERE state = 'pending' AND provider = 'resend'")
  worker_pid=$(worker)
  requests resend >/dev/null
  worker_before=$(ticks "$worker_pid")
  provider_before=$(ticks "${provider[resend]}")
  server_before=$(cpu_seconds)
  begun=$(ask "SELECT clock_timestamp() FROM skene_resume('resend')")
  until_true "NOT EXISTS (SELECT FROM skene.outbox WHERE provider = 'resend' AND state IN ('pending', 'leased'))" 0.2
  asked=$(requests resend | cut -d ' ' -f 2 | sort -u | wc -l)
  [ "$asked" = "$count" ] || die "$1: $count messages, and the provider was asked for $asked"
  [ "$(ask "SELECT count(*) FROM skene.outbox WHERE provider = 'resend' AND state = 'sent' AND attempts = 1")" = "$count" ] ||
    die "$1: not all were sent at once"
  [ -n "${2:-}" ] || return 0
  rate=$(ask "SELECT $count / extract(epoch FROM max(settled_at) - '$begun') FROM skene.outbox")
  sample "$1" "$2" "$round" tps "$rate"
  sample "$1" "$2" "$round" cpu_worker "($(ticks "$worker_pid") - $worker_before) * 1e6 / $(getconf CLK_TCK) / $count"
  sample "$1" "$2" "$round" cpu_server "($(cpu_seconds) - $server_before) * 1e6 / $count"
  sample "$1" "$2" "$round" cpu_provider "($(ticks "${provider[resend]}") - $provider_before) * 1e6 / $(getconf CLK_TCK) / $count"
  ask "DELETE FROM skene.outbox WHERE provider = 'resend'"
}

# Its statements are planned, its connections made.
warm_up() {
  ask "DELETE FROM skene.outbox"
  enqueue_messages resend /0/emails 2000
  drain warm
  ask "DELETE FROM skene.outbox"
}

# Messages alone, and right after it, for the machine has its moods, while as many requests to
# the other provider as may be under way are never answered.
beside_hanging() {
  local alone there=0
  enqueue_messages resend /1/emails "$messages"
  drain messages 1
  alone=$rate
  enqueue_messages resend /1/emails "$messages"
  requests stripe >/dev/null
  enqueue_messages stripe /hang/v1/customers $in_flight
  ask "SELECT skene_resume('stripe')" >/dev/null
  until [ $((there += $(requests stripe | wc -l))) -ge $in_flight ]; do sleep 0.05; done
  drain beside_hanging 1
  sample beside_hanging 1 "$round" ratio "$rate / $alone"
  get "${url[stripe]}/release" >/dev/null
  until_true "NOT EXISTS (SELECT FROM skene.outbox WHERE state IN ('pending', 'leased'))"
  ask "DELETE FROM skene.outbox"
}

# From the denial to the request, of denials that come one by one.
wire() {
  local count=400
  ask "DELETE FROM skene.outbox"
  ask "SELECT count(skene_identify('wire' || g, 'wire' || g || '@example.com')) FROM generate_series(1, $count) g" >/dev/null
  requests resend >/dev/null
  run_case wire 1 -R 25 -t $count
  until_true "count(*) = $count FROM skene.outbox WHERE state = 'sent'"
  requests resend | "$bindir/psql" -X -q -c "COPY bench.requests FROM STDIN (DELIMITER ' ')"
  sample wire $count 1 count "(SELECT count(*) FROM bench.on_the_wire)"
  for percent in 50 99; do
    sample wire $count 1 p$percent "(SELECT percentile_cont($percent / 100.0) WITHIN GROUP (ORDER BY ms) FROM bench.on_the_wire)"
  done
  ask "DELETE FROM skene.outbox"
}

# DROP DATABASE while a request of its worker hangs.
drop_database() {
  local from
  ask "CREATE DATABASE dropped"
  PGDATABASE=dropped ask "CREATE EXTENSION skene_gate"
  PGDATABASE=dropped ask "INSERT INTO skene.outbox (provider, path, body, idempotency_key)
                          VALUES ('resend', '/hang/emails', '{}', 'dropped')"
  PGDATABASE=dropped until_true "in_flight = 1 FROM skene.provider_status WHERE provider = 'resend'"
  from=$EPOCHREALTIME
  ask "DROP DATABASE dropped"
  sample drop_database 0 "$round" seconds "$EPOCHREALTIME - $from"
}

# A transaction of the caller's with and without a message.
enqueue() {
  local case lsn cpu
  for case in work work_enqueue; do
    lsn=$(wal_now)
    cpu=$(cpu_seconds)
    run_case $case 32 -t 500
    sample $case 32 "$round" tps "$tps"
    used_since
  done
  ask "DELETE FROM skene.outbox"
}

delivery() {
  local round
  start_providers
  command -v ab >/dev/null || test/harness/packages apache2-utils || say "ab is not here: the provider's ceiling is not measured."
  ask "SELECT count(*) FROM skene_apply('{\"features\": {
         \"mail\": {\"limit\": {\"free\": 1, \"paid\": null}, \"period\": \"30d\",
                    \"prompt\": {\"provider\": \"resend\", \"template\": \"upgrade_prompt\"}}}}')" >/dev/null
  configure resend_base_url="${url[resend]}" stripe_base_url="${url[stripe]}" \
    resend_api_key_file="$(write_secret resend re_bench_0123456789)" \
    stripe_api_key_file="$(write_secret stripe sk_test_0123456789)" \
    resend_batch=1 resend_rate=100000 stripe_rate=100000 max_requests=$in_flight request_timeout=120s
  for ((round = 1; round <= runs; round++)); do
    say "delivery, round $round of $runs"
    configure delivery=off
    ask CHECKPOINT
    enqueue
    configure delivery=on
    ceiling 1 64 50000
    ceiling 100 1000 20000
    warm_up
    for _ in 1 2 3; do beside_hanging; done
    enqueue_messages resend /100/emails "$messages" && drain messages 100
    enqueue_prompts "$messages" && drain prompts 0
    drop_database
  done
  wire
  configure delivery=off
}
