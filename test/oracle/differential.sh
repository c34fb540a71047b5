#!/bin/bash
#
# differential.sh: compare the extension with the oracle, on the server that
# PGHOST, PGPORT and PGUSER name.
#
#   differential.sh extension [SEED...]   the extension, created in a new database
#   differential.sh copy [SEED...]        a copy of the oracle: proves the test runs
#   differential.sh mutants               broken copies: proves the test can fail
#
# STEPS (10000) is the length of a history, CLIENTS (32) the size of the crowd.
# Every run drops and creates the database named by DATABASE (skene_oracle).
#
# Invariant: exits 0 only if every comparison was made and found no difference.

set -euo pipefail
cd "$(dirname "$0")"

database=${DATABASE:-skene_oracle}
steps=${STEPS:-10000}
clients=${CLIENTS:-32}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Run psql on the test database; with -c or -f.
run_sql()
{
    psql -X -q -At -v ON_ERROR_STOP=1 -d "$database" "$@"
}

# Start from an empty database with the oracle in it.
load_oracle()
{
    psql -X -q -v ON_ERROR_STOP=1 -d postgres -c "SET client_min_messages = warning" \
         -c "DROP DATABASE IF EXISTS $database" -c "CREATE DATABASE $database TEMPLATE template0 ENCODING 'UTF8'"
    run_sql -f oracle.sql -f differential.sql -f differential.rules.sql
    run_sql -c "CREATE TABLE oracle.admitted (user_id text, amount bigint)"
}

# Load a copy of the oracle into schema "subject", changed by a sed expression.
load_copy()
{
    sed "$1" oracle.sql >"$scratch/copy.sql"
    if [ -n "$1" ] && cmp -s oracle.sql "$scratch/copy.sql"; then
        echo "mutant changes nothing: $1" >&2
        exit 1
    fi
    sed -i 's/\boracle\b/subject/g' "$scratch/copy.sql"
    run_sql -f "$scratch/copy.sql"
}

# Let a crowd run a pgbench script, some transactions each, on one side. Transactions that
# count twice may deadlock on the last units, and are tried again.
crowd()
{
    if ! pgbench -n -c "$clients" -j 2 -t "$3" --max-tries=1000 -D side="$1" -f "$2" "$database" >"$scratch/log" 2>&1; then
        cat "$scratch/log"
        return 1
    fi
}

# Complain unless a query gives a value.
expect()
{
    local got
    got=$(run_sql -c "$3")
    if [ "$got" != "$2" ]; then
        echo "$1: $got, should be $2"
        return 1
    fi
}

# Let a crowd compete for 100 units on one side; what it was granted must add up.
race()
{
    local side=$1 used="SELECT used FROM $1.skene_usage" who
    run_sql -o /dev/null -c "TRUNCATE oracle.admitted" -c "SELECT oracle.configure('{
        \"plans\": [{\"plan\": \"free\", \"rank\": 0, \"is_default\": true, \"prices\": []}],
        \"features\": [{\"feature\": \"export\", \"period\": \"30d\"}],
        \"entitlements\": [{\"feature\": \"export\", \"plan\": \"free\", \"period\": \"30d\", \"usage_limit\": 100}],
        \"templates\": [], \"settings\": []}', '$side')"

    # One unit each, as a gate on an INSERT: exactly the limit gets in.
    cat >"$scratch/gate.sql" <<'SQL'
INSERT INTO oracle.admitted SELECT 'gate', 1 WHERE :side.skene_consume('gate', 'export');
SQL
    crowd "$side" "$scratch/gate.sql" 10 &&
    expect "$side: rows behind a gate of 100" 100 "SELECT count(*) FROM oracle.admitted" &&
    expect "$side: used behind that gate" 100 "$used('gate')" || return 1

    # The same key from everywhere counts once.
    cat >"$scratch/key.sql" <<'SQL'
INSERT INTO oracle.admitted SELECT 'key', 1 WHERE :side.skene_consume('key', 'export', 7, 'once');
SQL
    crowd "$side" "$scratch/key.sql" 3 &&
    expect "$side: used by one key" 7 "$used('key')" &&
    expect "$side: repeats of one key" $((clients * 3)) \
           "SELECT count(*) FROM oracle.admitted WHERE user_id = 'key'" || return 1

    # Savepoints, refunds and rollbacks; whatever committed is what was used.
    cat >"$scratch/mixed.sql" <<'SQL'
\set who random(1, 3)
\set amount random(1, 3)
\set fate random(1, 10)
BEGIN;
SELECT :side.skene_consume('mixed-' || :who, 'export', :amount)::int AS admitted \gset
INSERT INTO oracle.admitted SELECT 'mixed-' || :who, :amount * :admitted;
SAVEPOINT inner_one;
INSERT INTO oracle.admitted SELECT 'mixed-' || :who, 2 WHERE :side.skene_consume('mixed-' || :who, 'export', 2);
\if :fate <= 3
ROLLBACK TO SAVEPOINT inner_one;
\endif
\if :admitted
\if :fate >= 4 and :fate <= 7
INSERT INTO oracle.admitted SELECT 'mixed-' || :who, -:amount
  FROM (SELECT :side.skene_refund('mixed-' || :who, 'export', :amount)) AS refund;
\endif
\endif
\if :fate = 3 or :fate = 7 or :fate >= 9
ROLLBACK;
\else
COMMIT;
\endif
SQL
    crowd "$side" "$scratch/mixed.sql" 30 || return 1
    for who in mixed-1 mixed-2 mixed-3; do
        expect "$side: used by $who is what it was granted, within the limit" t \
               "SELECT used = granted AND used <= 100
                  FROM $side.skene_usage('$who'),
                       (SELECT sum(amount) AS granted FROM oracle.admitted WHERE user_id = '$who') AS g" || return 1
        # Nothing may be left behind that keeps the rest from being used.
        run_sql -o /dev/null -c "SELECT $side.skene_consume('$who', 'export') FROM generate_series(1, 101)"
        expect "$side: all of it used by $who" 100 "$used('$who')" || return 1
    done
}

# Play one seed; prints what was seen or the first difference.
play()
{
    run_sql -c "CALL oracle.play($1, $steps, '$2')" 2>&1 | sed -E 's/^(psql:.*: )?NOTICE: +//' || return 1
}

# Compare a subject with the oracle in every way there is.
compare()
{
    local subject=$1 seed
    shift
    run_sql -o /dev/null -c "SELECT oracle.check_windows()" \
            -c "SELECT oracle.check_rules('oracle')" -c "SELECT oracle.check_rules('$subject')"
    echo "windows and rules: as they should be"
    for seed in "$@"; do
        play "$seed" "$subject"
    done
    race oracle
    race "$subject"
    echo "crowds of $clients: as they should be"
}

# Break copies of the oracle, one thing at a time; each must be noticed by the way named.
try_mutants()
{
    local way expression missed=0
    while read -r way expression; do
        load_copy "$expression"
        case $way in
        play) compared=$(play 1 subject) ;;
        race) compared=$(race subject) ;;
        esac && {
            echo "NOT NOTICED by $way: $expression"
            missed=1
            continue
        }
        echo "noticed by $way: $expression"
        grep -m1 'should be' <<<"$compared" | sed 's/^/    /'
    done <<'MUTANTS'
play s/n > s.usage_limit - s.used/n >= s.usage_limit - s.used/
play s/n > s.usage_limit - s.used/s.used >= s.usage_limit/
play s/ AND i.user_id = who//
play s/d.replayed := counts AND/d.replayed := false AND/
play s/d.replayed := .*/d.replayed := counts AND EXISTS (SELECT FROM oracle.keys i WHERE i.key = answer.key AND i.user_id = who AND i.feature = what);/
play s/'refund'/'consume'/g
play s/amount > s.used/amount > s.used + 1/
play s/ OR b.ends_at > t)/ OR true)/
play s/RETURN false;/RETURN true;/
play s/coalesce(c.anchor, skene_identify.created_at)/coalesce(skene_identify.created_at, c.anchor)/
play s/ORDER BY p.rank, p.plan/ORDER BY p.rank DESC/
play s/d.remaining := greatest(s.usage_limit - s.used, 0)/d.remaining := s.usage_limit - s.used/
play s/AND u.period = s.period AND u.window_start = s.window_start/AND u.period = s.period/
play s/octet_length(who) NOT BETWEEN 1 AND 255/length(who) NOT BETWEEN 1 AND 255/
play s/used - amount/used + amount/
race s/ FOR UPDATE//
MUTANTS
    return $missed
}

what=${1:-}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- 1 2 3 $RANDOM
case $what in
extension)
    load_oracle
    run_sql -c "CREATE EXTENSION skene_gate"
    compare public "$@"
    ;;
copy)
    load_oracle
    load_copy ""
    compare subject "$@"
    ;;
mutants)
    load_oracle
    try_mutants
    ;;
*)
    sed -n '3,14s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
