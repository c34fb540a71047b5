# shellcheck shell=sh
# instrument.sh: the servers of a private installation under a tool that sees what tests
# do not. INSTRUMENT says which: valgrind (what is wrong with palloc'ed and other memory;
# needs a server built with USE_VALGRIND) or asan (AddressSanitizer, leaks of malloc'ed
# memory, undefined behaviour; needs the extension built for it). server.sh sources this.
#
# A wrapper takes the place of the program postgres, so every server is covered, also one
# that a TAP test starts; initdb's and other calls run bare. What the tool finds is left
# below $scratch/reports, a file for each process.
# shellcheck disable=SC2154  # scratch and bindir are server.sh's

# instrument: put the wrapper in place; made for make_installation.
instrument() {
  mkdir -p "$scratch/reports"
  [ "$(id -u)" != 0 ] || chown postgres: "$scratch/reports"
  mv "$bindir/postgres" "$bindir/postgres.bare"
  case $INSTRUMENT in
  valgrind)
    # pg_ctl restart would start the bare program: stop and start instead
    cp "$("$PG_CONFIG" --sharedir)/valgrind.supp" "$scratch/"
    environment=
    under="valgrind --quiet --num-callers=24 --error-limit=no --leak-check=no \
      --suppressions='$scratch/valgrind.supp' --log-file='$scratch/reports/valgrind.%p'"
    ;;
  asan)
    # libstdc++ because AddressSanitizer looks for its throw at start, when nothing of C++
    # is loaded yet; detect_stack_use_after_return would move locals off the stack, which
    # the server measures
    environment="LD_PRELOAD='$(${CXX:-g++} -print-file-name=libasan.so):$(${CXX:-g++} -print-file-name=libstdc++.so.6)' \
      ASAN_OPTIONS=abort_on_error=1:detect_stack_use_after_return=0:log_path='$scratch/reports/asan' \
      LSAN_OPTIONS=exitcode=0 UBSAN_OPTIONS=print_stacktrace=1"
    # shellcheck disable=SC2016  # the wrapper's own
    under='-a "$programs/postgres"'
    ;;
  *)
    echo "INSTRUMENT is valgrind or asan" >&2
    return 1
    ;;
  esac
  cat >"$bindir/postgres" <<WRAPPER
#!/bin/bash
programs=\${0%/*} # a copy of the installation has its own
case \$1 in
-D) export PATH $environment; exec $under "\$programs/postgres.bare" "\$@" ;;
*) exec -a "\$programs/postgres" "\$programs/postgres.bare" "\$@" ;;
esac
WRAPPER
  chmod 755 "$bindir/postgres"
  export PGCTLTIMEOUT="${PGCTLTIMEOUT:-300}"
}

# print_reports: what the tool found so far; fails when there is something. The server
# itself leaks a little at exit: a leak counts when our code or a library of ours allocated it.
# A process that is killed while it tells of that leaves a line of = and nothing else. What is
# undefined is told in the server's log.
print_reports() {
  # shellcheck disable=SC2016
  ours='BEGIN { RS = ""; ORS = "\n\n" }
    /leak of [0-9]+ byte/ && !/ in (skene(::|_)|operator new)|\/libcurl/ { next }
    /^=+$/ || /LeakSanitizer: detected memory leaks$/ || /SUMMARY: .* leaked in / { next }
    { print }'
  found=$(
    find "$scratch/reports" -type f -size +0 -exec awk "$ours" {} +
    find "$scratch/server.log" "$scratch/tap/log" -name '*.log' -exec \
      grep -h -A 12 ': runtime error: ' {} + 2>/dev/null
  )
  [ -z "$found" ] || { printf '%s\n' "$found"; return 1; }
}
