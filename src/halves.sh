#!/bin/sh
# halves.sh: the build's check of the two-halves rule.
#
# A source includes postgres.h (through server/prelude.hpp) or C++ libraries, never
# both: an ereport() jumps over destructors, an exception must not reach C. The core
# is compiled without the server's include directory, so here only stray includes in
# the PostgreSQL half and in the headers both halves share are left to find.
set -eu
cd "$(dirname "$0")"

allowed='atomic|cstddef|cstdint|type_traits|limits|array|span|string_view'
c_headers='[a-z_/]*\.h'
status=0

# The PostgreSQL half: C headers, and C++ headers that allocate nothing.
stray=$(grep -nE '^#include <' server/* settings/* engine/* gate/* outbox/* worker/* webhooks/* |
  grep -vE "<($allowed)>|<($c_headers)>" || true)
stray_c=$(grep -nE '^#include <(curl|nlohmann)' server/* settings/* engine/* gate/* outbox/* worker/* webhooks/* || true)
# Headers of the core that the PostgreSQL half includes.
headers=$(grep -hoE '^#include "core/[a-z_]+\.hpp"' server/* settings/* engine/* gate/* outbox/* worker/* webhooks/* |
  sed 's/.*"\(.*\)"/\1/' | sort -u)
for header in $headers; do
  found=$(grep -nE '^#include <' "$header" | grep -vE "<($allowed)>" | sed "s|^|$header:|" || true)
  [ -z "$found" ] || stray="$stray
$found"
done
# The core: nothing of the server's.
server=$(grep -nE '#include "(postgres|fmgr|utils/|server/|engine/|gate/|worker/|outbox/|settings/|webhooks/)' core/* || true)

for finding in "$stray" "$stray_c" "$server"; do
  if [ -n "$finding" ]; then
    printf 'two-halves rule broken:\n%s\n' "$finding" >&2
    status=1
  fi
done
exit $status
