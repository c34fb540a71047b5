// GORM over pgx's database/sql driver: ? in its Raw and Exec is a parameter. A BeforeCreate
// hook is the place for a gate: it runs in the transaction that inserts, as long as
// SkipDefaultTransaction is not set.
package main

import (
	"database/sql"
	"errors"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"drivers/check"
)

const note = "Positional ids are `string` or `uuid.UUID`: pass an `int64` as `user_bigint => ?` " +
	"(or `?::bigint`), or it is refused before anything is counted. A webhook's `[]byte` must not " +
	"stand right behind a parenthesis, where GORM makes a parameter of each byte: `payload => ?::bytea`. `errors.As` to `*pgconn.PgError` has " +
	"`Code` and `Detail`. `skene_require` in a `BeforeCreate` hook gates a model. Behind PgBouncer " +
	"before 1.21: `default_query_exec_mode=cache_describe`."

var (
	pool    *gorm.DB
	errUndo = errors.New("undo")
)

// Project is a table of the application's.
type Project struct {
	ID    int64
	Owner string
}

// BeforeCreate counts each project against its owner's limit, and refuses one too many.
func (project *Project) BeforeCreate(tx *gorm.DB) error {
	return tx.Exec("SELECT skene_require(?, ?)", project.Owner, "export").Error
}

// Decision is a row of skene_decide and skene_check; nil limits are unlimited.
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

// query scans what a query finds into a value, a struct or a slice of structs.
func query[T any](db *gorm.DB, sql string, parameters ...any) (found T, err error) {
	err = db.Raw(sql, parameters...).Scan(&found).Error
	return
}

// decide counts, and tells the whole decision.
func decide(db *gorm.DB, customer, feature string, amount int64) Decision {
	return check.Must(query[Decision](db, "SELECT * FROM skene_decide(?, ?, ?)", customer, feature, amount))
}

// consume counts units of export; false when there are too few.
func consume(db *gorm.DB, customer any, amount int64) bool {
	return check.Must(query[bool](db, "SELECT skene_consume(?, ?, ?)", customer, "export", amount))
}

// used tells the units of export a customer has used.
func used(db *gorm.DB, customer string) int64 {
	return check.Must(query[int64](db, "SELECT used FROM skene_check(?, ?)", customer, "export"))
}

// backend tells which server process a connection has.
func backend(db *gorm.DB) int {
	return check.Must(query[int](db, "SELECT pg_backend_pid()"))
}

// denied demands that an error is skene_require's.
func denied(err error, remaining int64) {
	var refusal *pgconn.PgError
	check.Same(errors.As(err, &refusal), true)
	check.Denied(refusal.Code, refusal.Detail, remaining)
}

func checkBoolean(db *gorm.DB, customer string) {
	for _, expected := range []bool{true, true, true, false} {
		check.Same(consume(db, customer, 1), expected)
	}
	check.Same(check.Must(query[bool](db, "SELECT skene_allows(?, ?)", customer, "export")), false)
}

func checkDecision(db *gorm.DB, customer string) {
	row := decide(db, customer, "export", 2)
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

	row = decide(db, customer, "export", 2)
	check.Same(row.Allowed, false)
	check.Same(*row.UpgradePlan, "pro")
	check.Near(time.Duration(*row.RetryAfter)*time.Second, 30)

	row = decide(db, customer, "search", 1<<40)
	check.Same(row.Used, 1<<40)
	check.Same(row.UsageLimit, nil)
	check.Same(row.Remaining, nil)
	check.Same(row.ResetsAt, nil)
}

func checkIds(db *gorm.DB, customer string) {
	team, number := uuid.New(), 1<<40+rand.Int64N(1<<60)
	check.Same(consume(db, customer, 1), true)
	check.Same(check.Must(query[bool](db, "SELECT skene_consume(user_uuid => ?, feature => ?)", team, "export")), true)
	check.Same(check.Must(query[bool](db, "SELECT skene_consume(user_bigint => ?, feature => ?)", number, "export")), true)
	for _, id := range []string{customer, team.String(), strconv.FormatInt(number, 10)} {
		check.Same(used(db, id), 1)
	}
}

// Of a bare parameter the server says text: a UUID has a text, an integer is refused.
func checkPositionalIds(db *gorm.DB, _ string) {
	team, number := uuid.New(), 1<<40+rand.Int64N(1<<60)
	check.Same(consume(db, team, 1), true)
	check.Same(used(db, team.String()), 1)
	_, err := query[bool](db, "SELECT skene_consume(?, ?)", number, "export")
	check.Same(err == nil, false)
	check.Same(used(db, strconv.FormatInt(number, 10)), 0)
	check.Same(check.Must(query[bool](db, "SELECT skene_consume(?::bigint, ?)", number, "export")), true)
	check.Same(used(db, strconv.FormatInt(number, 10)), 1)
}

// GORM's own named parameters beside those of the function.
func checkNamed(db *gorm.DB, customer string) {
	for _, replayed := range []bool{false, true} {
		row := check.Must(query[Decision](db, "SELECT * FROM skene_decide(user_id => @customer, feature => @feature, "+
			"amount => @amount, idempotency_key => @key)", sql.Named("customer", customer),
			sql.Named("feature", "export"), sql.Named("amount", 2), sql.Named("key", "order-1")))
		check.Same(row.Replayed, replayed)
		check.Same(row.Used, 2)
	}
}

func checkRequire(db *gorm.DB, customer string) {
	const require = "SELECT skene_require(?, ?, ?)"
	check.OK(db.Exec(require, customer, "export", 2).Error)
	denied(db.Exec(require, customer, "export", 2).Error, 1)
	check.Same(used(db, customer), 2)
}

func checkRollback(db *gorm.DB, customer string) {
	err := db.Transaction(func(tx *gorm.DB) error {
		check.Same(consume(tx, customer, 3), true)
		return errUndo
	})
	check.Same(err, errUndo)
	check.Same(used(db, customer), 0)
	check.OK(db.Transaction(func(tx *gorm.DB) error {
		check.Same(consume(tx, customer, 1), true)
		return nil
	}))
	check.Same(used(db, customer), 1)
}

func checkSavepoint(db *gorm.DB, customer string) {
	check.OK(db.Transaction(func(tx *gorm.DB) error {
		check.Same(consume(tx, customer, 1), true)
		err := tx.Transaction(func(savepoint *gorm.DB) error {
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
func checkPool(db *gorm.DB, customer string) {
	check.Same(consume(db, customer, 1), true)
	first := backend(db)
	check.OK(pool.Transaction(func(other *gorm.DB) error {
		check.Same(backend(other) == first, check.Pooler)
		check.Same(consume(other, customer, 1), true)
		check.Same(backend(db) != first, check.Pooler)
		check.Same(consume(db, customer+"-other", 1), true)
		return nil
	}))
	check.Same(consume(db, customer, 1), true)
	check.Same(used(db, customer), 3)
}

func checkUsage(db *gorm.DB, customer string) {
	type usage struct {
		Feature    string
		Used       int64
		UsageLimit *int64
	}
	check.Same(consume(db, customer, 1), true)
	all := check.Must(query[[]usage](db, "SELECT * FROM skene_usage(?) ORDER BY feature", customer))
	check.Same(len(all), 2)
	check.Same(all[0].Feature, "export")
	check.Same(all[0].Used, 1)
	check.Same(*all[0].UsageLimit, 3)
	check.Same(all[1], usage{Feature: "search"})
}

// Right behind a parenthesis GORM would make each byte a parameter: so the name first.
func checkWebhook(db *gorm.DB, _ string) {
	payload, signature := check.Event()
	outcome := check.Must(query[string](db, "SELECT skene_stripe_webhook(payload => ?::bytea, signature => ?)",
		payload, signature))
	check.Same(outcome, "applied")
	check.Same(check.Must(query[string](db, "SELECT plan FROM skene_check(?, ?)", check.Name+"-payer", "export")), "pro")
}

// The hook of Project, a condition, and the one-statement gate.
func checkOrm(db *gorm.DB, customer string) {
	check.OK(db.Create(&[]Project{{Owner: customer}, {Owner: customer}}).Error)
	var visible []Project
	check.OK(db.Where("owner = ? AND skene_allows(owner, ?)", customer, "export").Find(&visible).Error)
	check.Same(len(visible), 2)
	denied(db.Transaction(func(tx *gorm.DB) error {
		return tx.Create(&[]Project{{Owner: customer}, {Owner: customer}}).Error
	}), 0)

	for _, inserted := range []int64{1, 0} {
		gate := db.Exec("INSERT INTO projects (owner) SELECT @customer WHERE skene_consume(@customer, 'export')",
			sql.Named("customer", customer))
		check.OK(gate.Error)
		check.Same(gate.RowsAffected, inserted)
	}
	var projects int64
	check.OK(db.Model(&Project{}).Where("owner = ?", customer).Count(&projects).Error)
	check.Same(projects, used(db, customer))
}

// lend a connection of the pool.
func lend(work func(*gorm.DB)) {
	check.OK(pool.Connection(func(connection *gorm.DB) error {
		work(connection.Session(&gorm.Session{NewDB: true})) // or one statement's error stays for the next
		return nil
	}))
}

func main() {
	url := check.URL
	if check.Pooler {
		url += "&default_query_exec_mode=cache_describe"
	}
	pool = check.Must(gorm.Open(postgres.Open(url), &gorm.Config{Logger: logger.Discard}))
	check.Run("gorm.io/gorm", note, lend, []check.Case[*gorm.DB]{
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
		{Name: "orm", Run: checkOrm},
	})
}
