#!/bin/sh
# halves.sh: the build's check of the two-halves rule.
#
# A source includes postgres.h (through server/prelude.hpp) or C++ libraries, never
# both: an ereport() jumps over destructors, an exception must not reach C. The core
# is compiled without the server's include directory, so here only stray includes in
# the PostgreSQL half and in the headers both halves share are left to find.
# shellcheck disable=SC2086  # lists of files
set -eu
cd "$(dirname "$0")"

allowed='atomic|cstddef|cstdint|type_traits|limits|array|span|string_view'
c_headers='[a-z_/]*\.h'
half=$(find . -name '*.[ch]pp' ! -path './core/*' | sort)
status=0

# The PostgreSQL half, every room but the core: C headers, and C++ headers that allocate nothing.
stray=$(grep -nE '^#include <' $half | grep -vE "<($allowed)>|<($c_headers)>" || true)
stray_c=$(grep -nE '^#include <(curl|nlohmann)' $half || true)
# Headers of the core that the PostgreSQL half includes.
headers=$(grep -hoE '^#include "core/[a-z_]+\.hpp"' $half | sed 's/.*"\(.*\)"/\1/' | sort -u)
for header in $headers; do
  found=$(grep -nE '^#include <' "$header" | grep -vE "<($allowed)>" | sed "s|^|$header:|" || true)
  [ -z "$found" ] || stray="$stray
$found"
done
# The core: nothing of the server's.
server=$(grep -nE '#include "' core/*.[ch]pp | grep -vE '#include "core/' || true)

for finding in "$stray" "$stray_c" "$server"; do
  if [ -n "$finding" ]; then
    printf 'two-halves rule broken:\n%s\n' "$finding" >&2
    status=1
  fi
done
exit $status
