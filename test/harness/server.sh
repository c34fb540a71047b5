# shellcheck shell=sh
# server.sh: a private PostgreSQL with the extension, for tests and the demo. Source it.
#
# The installation of PG_CONFIG is copied (programs) and linked (the rest) below a
# scratch directory, and the extension is installed into the copy: the programs find
# their files relative to themselves. So nothing here needs root or changes the
# system, and a server of any owner's can run beside it. Servers refuse to run as
# root; then the user postgres owns the scratch directory.

if [ -z "${PG_CONFIG:-}" ]; then
  PG_CONFIG=$(for dir in /usr/lib/postgresql/*/lib/pgxs; do
    [ ! -d "$dir" ] || printf '%s\n' "${dir%/lib/pgxs}/bin/pg_config"
  done | sort -t / -k 5 -n | tail -1)
  : "${PG_CONFIG:=pg_config}"
fi
export PG_CONFIG
# shellcheck source=/dev/null
[ -z "${INSTRUMENT:-}" ] || . test/harness/instrument.sh

# Run a command as the user that owns the server, who may not see where we are.
as_server() {
  if [ "$(id -u)" = 0 ]; then
    (cd "$scratch" && runuser -u postgres -- "$@")
  else
    "$@"
  fi
}

# make_scratch: set $scratch to a fresh directory that the server's user owns.
make_scratch() {
  scratch=$(mktemp -d "${TMPDIR:-/tmp}/skene_gate.XXXXXX")
  chmod 755 "$scratch"
  [ "$(id -u)" != 0 ] || chown postgres: "$scratch"
}

# make_installation: build, and install into a private copy below $scratch. Sets
# $bindir (its programs) and $pgxs_tests (pg_regress and its kin).
make_installation() {
  system_bindir=$("$PG_CONFIG" --bindir)
  bindir=$scratch/install$system_bindir
  # shellcheck disable=SC2034  # for the sourcing script
  pgxs_tests=$scratch/install$(dirname "$("$PG_CONFIG" --pgxs)")/../test
  make -s -j"$(nproc)" PG_CONFIG="$PG_CONFIG" all >"$scratch/build.log" 2>&1 || {
    cat "$scratch/build.log" >&2
    return 1
  }
  mkdir -p "$bindir"
  cp -p "$system_bindir"/* "$bindir/"
  for linked in $("$PG_CONFIG" --sharedir) $("$PG_CONFIG" --pkglibdir); do
    mkdir -p "$scratch/install$linked"
    how=-as
    as_server test -r "$linked" || how=-a # links lead nowhere for the server's user
    cp "$how" "$linked/." "$scratch/install$linked/"
  done
  make -s PG_CONFIG="$PG_CONFIG" DESTDIR="$scratch/install" install >"$scratch/install.log" 2>&1 || {
    cat "$scratch/install.log" >&2
    return 1
  }
  [ -z "${INSTRUMENT:-}" ] || instrument
}

# start_server [setting...]: make a cluster in $scratch/data and start it; clients find
# it through the PG* variables set here.
start_server() {
  as_server "$bindir/initdb" -D "$scratch/data" -A trust -U postgres -E UTF8 --locale=C.UTF-8 \
    --no-sync >"$scratch/initdb.log"
  {
    printf '%s\n' "listen_addresses = ''" "unix_socket_directories = '$scratch'" \
      "shared_preload_libraries = 'skene_gate'" "fsync = off" "max_connections = 200" \
      "log_line_prefix = '%m %b[%p] %q%d '"
    for setting in "$@"; do printf '%s\n' "$setting"; done
  } | as_server tee -a "$scratch/data/postgresql.conf" >/dev/null
  export PGHOST="$scratch" PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
  as_server "$bindir/pg_ctl" -D "$scratch/data" -l "$scratch/server.log" -w start \
    >/dev/null </dev/null || {
    cat "$scratch/server.log" >&2
    return 1
  }
}

stop_server() {
  [ ! -e "$scratch/data/postmaster.pid" ] ||
    as_server "$bindir/pg_ctl" -D "$scratch/data" -m fast -w stop >/dev/null
}

# write_secret NAME CONTENT: a file only the server can read; prints its path.
write_secret() {
  (umask 077 && printf '%s\n' "$2" >"$scratch/$1")
  [ "$(id -u)" != 0 ] || chown postgres: "$scratch/$1"
  printf '%s\n' "$scratch/$1"
}

# Build and install for a newer PostgreSQL as well; sets $newer to its prefix.
make_newer_installation() {
  [ -n "${SKENE_NEWER_PG_CONFIG:-}" ] || return 0
  mkdir -p "$scratch/newer/source"
  cp -r Makefile skene_gate.control src sql test "$scratch/newer/source/" || return 1
  find "$scratch/newer/source" -name '*.[od]' -delete # they are of this PostgreSQL
  (cd "$scratch/newer/source" && scratch=$scratch/newer PG_CONFIG=$SKENE_NEWER_PG_CONFIG make_installation) || return 1
  newer=$scratch/newer/install$(dirname "$("$SKENE_NEWER_PG_CONFIG" --bindir)")
}

# run_tap [PATTERN]...: run the TAP tests whose names begin so, each with servers of its own.
run_tap() {
  # the server's user may not be able to read this checkout
  mkdir -p "$scratch/source" "$scratch/tap/data" "$scratch/tap/log"
  make -s PG_CONFIG="$PG_CONFIG" next && make_newer_installation || return
  cp -r test examples build/next "$scratch/source/"
  [ "$(id -u)" != 0 ] || chown -R postgres: "$scratch/source" "$scratch/tap"
  tests=
  for pattern in "${@:-}"; do tests="$tests $scratch/source/test/t/$pattern*.pl"; done
  # shellcheck disable=SC2086  # patterns
  (cd "$scratch/tap" && as_server env TESTDIR="$scratch/tap" TESTDATADIR="$scratch/tap/data" \
    TESTLOGDIR="$scratch/tap/log" PATH="$bindir:$PATH" SKENE_SOURCE="$scratch/source" \
    SKENE_INSTALL="$scratch/install" SKENE_NEWER="${newer:-}" \
    PG_REGRESS="$pgxs_tests/regress/pg_regress" \
    prove --timer -j"$(($(nproc) * 2))" -I "$pgxs_tests/perl" -I "$scratch/source/test/t" $tests)
}
