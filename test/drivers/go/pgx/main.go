// pgx: every statement is prepared once per connection, and the server says of which type
// its parameters are. Behind PgBouncer only the descriptions of statements are kept.
package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"drivers/check"
)

const note = "Positional ids are `string` or `uuid.UUID`: pass an `int64` as `user_bigint => $1` " +
	"(or `$1::bigint`), or it is refused before anything is counted. `pgx.RowToStructByName` wants " +
	"a field for each column: name the columns. `errors.As` to `*pgconn.PgError` has `Code` and " +
	"`Detail`. Behind PgBouncer before 1.21: `default_query_exec_mode=cache_describe`."

var (
	ctx     = context.Background()
	pool    *pgxpool.Pool
	errUndo = errors.New("undo")
)

// database is what a connection and a transaction have in common.
type database interface {
	Begin(context.Context) (pgx.Tx, error)
	Exec(context.Context, string, ...any) (pgconn.CommandTag, error)
	Query(context.Context, string, ...any) (pgx.Rows, error)
}

// Decision is a row of skene_decide and skene_check; nil limits are unlimited. pgx wants a
// field for each column: so name them, since later versions may have more.
type Decision struct {
	Allowed     bool
	Reason      string
	Feature     string
	Used        int64
	UsageLimit  *int64
	Remaining   *int64
	ResetsAt    *time.Time
	RetryAfter  *int64
	Plan        string
	UpgradePlan *string
	Replayed    bool
}

const columns = "allowed, reason, feature, used, usage_limit, remaining, resets_at, retry_after, plan, " +
	"upgrade_plan, replayed"

// one is the only row of a query, of one column.
func one[T any](db database, sql string, parameters ...any) (T, error) {
	rows, _ := db.Query(ctx, sql, parameters...) // its error is also in rows
	return pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
}

// decision is the row of a query for the columns of one.
func decision(db database, from string, parameters ...any) Decision {
	rows, _ := db.Query(ctx, "SELECT "+columns+" FROM "+from, parameters...)
	return check.Must(pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Decision]))
}

// consume counts units of export; false when there are too few.
func consume(db database, customer any, amount int64) bool {
	return check.Must(one[bool](db, "SELECT skene_consume($1, $2, $3)", customer, "export", amount))
}

// used tells the units of export a customer has used.
func used(db database, customer string) int64 {
	return check.Must(one[int64](db, "SELECT used FROM skene_check($1, $2)", customer, "export"))
}

// backend tells which server process a connection has.
func backend(db database) int32 {
	return check.Must(one[int32](db, "SELECT pg_backend_pid()"))
}

func checkBoolean(db database, customer string) {
	for _, expected := range []bool{true, true, true, false} {
		check.Same(consume(db, customer, 1), expected)
	}
	check.Same(check.Must(one[bool](db, "SELECT skene_allows($1, $2)", customer, "export")), false)
}

func checkDecision(db database, customer string) {
	const decide = "skene_decide($1, $2, $3)"
	row := decision(db, decide, customer, "export", 2)
	check.Same(row.Allowed, true)
	check.Same(row.Reason, "ok")
	check.Same(row.Feature, "export")
	check.Same(row.Used, 2)
	check.Same(*row.UsageLimit, 3)
	check.Same(*row.Remaining, 1)
	check.Near(time.Until(*row.ResetsAt), 30)
	check.Same(row.RetryAfter, nil)
	check.Same(row.Plan, "free")
	check.Same(row.Replayed, false)

	row = decision(db, decide, customer, "export", 2)
	check.Same(row.Allowed, false)
	check.Same(*row.UpgradePlan, "pro")
	check.Near(time.Duration(*row.RetryAfter)*time.Second, 30)

	row = decision(db, decide, customer, "search", 1<<40)
	check.Same(row.Used, 1<<40)
	check.Same(row.UsageLimit, nil)
	check.Same(row.Remaining, nil)
	check.Same(row.ResetsAt, nil)
}

func checkIds(db database, customer string) {
	team, number := uuid.New(), 1<<40+rand.Int64N(1<<60)
	check.Same(consume(db, customer, 1), true)
	check.Same(check.Must(one[bool](db, "SELECT skene_consume(user_uuid => $1, feature => $2)", team, "export")), true)
	check.Same(check.Must(one[bool](db, "SELECT skene_consume(user_bigint => $1, feature => $2)", number, "export")), true)
	for _, id := range []string{customer, team.String(), strconv.FormatInt(number, 10)} {
		check.Same(used(db, id), 1)
	}
}

// Of a bare $1 the server says text: a UUID has a text, an integer is refused.
func checkPositionalIds(db database, _ string) {
	team, number := uuid.New(), 1<<40+rand.Int64N(1<<60)
	check.Same(consume(db, team, 1), true)
	check.Same(used(db, team.String()), 1)
	_, err := one[bool](db, "SELECT skene_consume($1, $2)", number, "export")
	check.Same(err == nil, false)
	check.Same(used(db, strconv.FormatInt(number, 10)), 0)
	check.Same(check.Must(one[bool](db, "SELECT skene_consume($1::bigint, $2)", number, "export")), true)
	check.Same(used(db, strconv.FormatInt(number, 10)), 1)
}

func checkNamed(db database, customer string) {
	for _, replayed := range []bool{false, true} {
		row := decision(db, "skene_decide(user_id => $1, feature => $2, amount => $3, idempotency_key => $4)",
			customer, "export", 2, "order-1")
		check.Same(row.Replayed, replayed)
		check.Same(row.Used, 2)
	}
}

func checkRequire(db database, customer string) {
	const require = "SELECT skene_require($1, $2, $3)"
	check.Must(db.Exec(ctx, require, customer, "export", 2))
	_, err := db.Exec(ctx, require, customer, "export", 2)
	var denied *pgconn.PgError
	check.Same(errors.As(err, &denied), true)
	check.Denied(denied.Code, denied.Detail, 1)
	check.Same(used(db, customer), 2)
}

func checkRollback(db database, customer string) {
	err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		check.Same(consume(tx, customer, 3), true)
		return errUndo
	})
	check.Same(err, errUndo)
	check.Same(used(db, customer), 0)
	check.OK(pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		check.Same(consume(tx, customer, 1), true)
		return nil
	}))
	check.Same(used(db, customer), 1)
}

func checkSavepoint(db database, customer string) {
	check.OK(pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		check.Same(consume(tx, customer, 1), true)
		err := pgx.BeginFunc(ctx, tx, func(savepoint pgx.Tx) error {
			check.Same(consume(savepoint, customer, 2), true)
			return errUndo
		})
		check.Same(err, errUndo)
		check.Same(consume(tx, customer, 1), true)
		return nil
	}))
	check.Same(used(db, customer), 2)
}

// The same statement on one connection, on another of the pool, and on the first again,
// which has another server behind PgBouncer meanwhile.
func checkPool(db database, customer string) {
	check.Same(consume(db, customer, 1), true)
	first := backend(db)
	other := check.Must(pool.Acquire(ctx))
	defer other.Release()
	check.OK(pgx.BeginFunc(ctx, other, func(tx pgx.Tx) error {
		check.Same(backend(tx) == first, check.Pooler)
		check.Same(consume(tx, customer, 1), true)
		check.Same(backend(db) != first, check.Pooler)
		check.Same(consume(db, customer+"-other", 1), true)
		return nil
	}))
	check.Same(consume(db, customer, 1), true)
	check.Same(used(db, customer), 3)
}

func checkUsage(db database, customer string) {
	type usage struct {
		Feature    string
		Used       int64
		UsageLimit *int64
	}
	check.Same(consume(db, customer, 1), true)
	rows, _ := db.Query(ctx, "SELECT feature, used, usage_limit FROM skene_usage($1) ORDER BY feature", customer)
	all := check.Must(pgx.CollectRows(rows, pgx.RowToStructByName[usage]))
	check.Same(len(all), 2)
	check.Same(all[0].Feature, "export")
	check.Same(all[0].Used, 1)
	check.Same(*all[0].UsageLimit, 3)
	check.Same(all[1], usage{Feature: "search"})
}

func checkWebhook(db database, _ string) {
	payload, signature := check.Event()
	check.Same(check.Must(one[string](db, "SELECT skene_stripe_webhook($1::bytea, $2)", payload, signature)), "applied")
	check.Same(check.Must(one[string](db, "SELECT plan FROM skene_check($1, $2)", check.Name+"-payer", "export")), "pro")
}

// lend a connection of the pool.
func lend(work func(database)) {
	connection := check.Must(pool.Acquire(ctx))
	defer connection.Release()
	work(connection)
}

func main() {
	config := check.Must(pgxpool.ParseConfig(check.URL))
	if check.Pooler { // or in the URL: default_query_exec_mode=cache_describe
		config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	}
	pool = check.Must(pgxpool.NewWithConfig(ctx, config))
	check.Run("github.com/jackc/pgx/v5", note, lend, []check.Case[database]{
		{Name: "boolean", Run: checkBoolean},
		{Name: "decision", Run: checkDecision},
		{Name: "ids", Run: checkIds},
		{Name: "positional_ids", Run: checkPositionalIds},
		{Name: "named", Run: checkNamed},
		{Name: "require", Run: checkRequire},
		{Name: "rollback", Run: checkRollback},
		{Name: "savepoint", Run: checkSavepoint},
		{Name: "pool", Run: checkPool},
		{Name: "usage", Run: checkUsage},
		{Name: "webhook", Run: checkWebhook},
	})
}
