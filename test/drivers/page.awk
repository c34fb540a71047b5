# page.awk: docs/drivers.md from what the programs printed: for each driver, in the order
# of the run, its source, version, note, and a line for each check. The page depends on
# nothing else, so two runs that found the same write the same page.

$2 == "source" { if (!($1 in source)) order[++count] = $1; source[$1] = $3; next }
$2 == "version" { version[$1] = $3; next }
$2 == "note" { note[$1] = substr($0, length($1 " note ") + 1); next }
$3 == "ok" { passed[$1]++ }
$3 == "FAILED:" { failed[$1] = failed[$1] (failed[$1] ? ", " : "") $2 }

# What became of a driver's checks, in a cell of the table.
function found(run) {
    if (failed[run]) return "**fails**: " failed[run]
    return passed[run] ? passed[run] " checks pass" : "not run"
}

END {
    print "<!-- Written by `make check-drivers`. Change test/drivers, not this page. -->"
    print "# Drivers"
    print ""
    print "The SQL contract as real clients meet it. Every driver does the same checks as a back end's"
    print "role (`skene_grant_role('webapp', 'app')`), directly and, where the table says so, through"
    print "PgBouncer in transaction mode. Its program is a working example of every call."
    print ""
    print "| driver | version | directly | through PgBouncer |"
    print "|---|---|---|---|"
    for (i = 1; i <= count; i++) {
        d = order[i]
        printf "| [%s](../test/drivers/%s) | %s | %s | %s |\n", \
            d, source[d], version[d], found(d), found(d "+pgbouncer")
    }
    print ""
    print "## What is checked"
    print ""
    print "- *boolean*: `skene_consume` and `skene_allows` are the language's own true and false."
    print "- *decision*: a row of `skene_decide` by column name: 64-bit units, `resets_at` as a moment,"
    print "  `retry_after` in seconds, null where there is none."
    print "- *ids*: text, uuid and bigint in the language's own types, as `user_id =>`, `user_uuid =>` and"
    print "  `user_bigint =>`."
    print "- *positional_ids*: the same ids in first place, where the server must choose the overload: counted"
    print "  for the right customer, or refused by the driver before anything is counted."
    print "- *named*: `user_id => $1, …`, and a repeated idempotency key counts nothing."
    print "- *require*: a denial is the driver's own exception, with SQLSTATE `PT402` and the decision as"
    print "  JSON in its detail."
    print "- *rollback*, *savepoint*: leaving the driver's own transaction, or a nested one, gives the units back."
    print "- *pool*: the same statement, prepared where the driver prepares, on several connections of a pool;"
    print "  behind PgBouncer also after a connection was given another server."
    print "- *usage*: the rows of `skene_usage`."
    print "- *webhook*: a signed Stripe event as raw bytes, in `skene_stripe_webhook($1::bytea, $2)`."
    print "- *orm*: the functions in the ORM's own words."
    print ""
    print "## What to know"
    print ""
    print "For all of them:"
    print ""
    print "- A denial that raises aborts the transaction, as any error does: roll back, or to a savepoint,"
    print "  before the next statement. The prompt is written all the same."
    print "- Call row functions in FROM, and read columns by name: later versions may add some."
    print "- Ids are taken as they are, but a uuid counts as its lower-case text: a uuid that a driver sends"
    print "  as a string is the same customer only in lower case."
    print "- Without a transaction of your own every statement commits: what it counted stays counted even if"
    print "  the driver then fails to read its result."
    print "- Keep the driver's prepared statements off behind PgBouncer in transaction mode before 1.21, or"
    print "  with `max_prepared_statements = 0`. That is how it was checked; how to is below."
    for (i = 1; i <= count; i++) {
        d = order[i]
        if (note[d]) printf "\n**%s.** %s\n", d, note[d]
    }
}
