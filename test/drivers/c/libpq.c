/*
 * libpq: parameters and columns travel as text unless a program asks for binary. A parameter
 * of no stated type is what the function's parameter is, or text where several would fit.
 *
 * Prints a line for each check, "NAME CHECK ok" or "NAME CHECK FAILED: why"; names and meaning
 * of the checks are those of python/contract.py. A check goes on after the first demand that
 * is not met, and that one is its "why".
 */
#include <arpa/inet.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* from the server's catalog/pg_type_d.h, which a client need not have */
enum {
    BOOLOID = 16,
    INT8OID = 20,
    TIMESTAMPTZOID = 1184,
    UUIDOID = 2950,
};

#define NOTE                                                                                       \
    "Text parameters of no stated type fit all functions; a bare `$1` is then the text overload, " \
    "and a uuid is the same customer only in lower case. With `paramTypes` (`UUIDOID`, "           \
    "`INT8OID`) or `user_uuid => $1`, `user_bigint => $1` it is theirs. `PQresultErrorField` "     \
    "has `PG_DIAG_SQLSTATE` and `PG_DIAG_MESSAGE_DETAIL`. Behind PgBouncer before 1.21: "          \
    "`PQexecParams`, not `PQprepare`."

#define CONSUME "SELECT skene_consume($1, $2, $3)"
#define USED "SELECT used FROM skene_check($1, 'export')"

static const char *driver;
static bool pooler;
static PGconn *pool[2];
static char why[500];

/* Keep the first reason why the check has failed, on one line. */
static void
failed(const char *actual, const char *is_not)
{
    if (why[0] != '\0')
        return;
    snprintf(why, sizeof why, "%s is not %s", actual ? actual : "NULL", is_not ? is_not : "NULL");
    for (char *at = why; *at; at++)
        if (*at == '\n')
            *at = ' ';
}

/* Demand that two texts are equal; NULL is SQL's. */
static void
same(const char *actual, const char *expected)
{
    if (actual == NULL || expected == NULL ? actual != expected : strcmp(actual, expected) != 0)
        failed(actual, expected);
}

/* Demand that seconds are about 30 days. */
static void
thirty_days(const char *seconds)
{
    long long wait = atoll(seconds ? seconds : "0");
    if (wait <= 29 * 86400LL || wait > 30 * 86400LL + 5)
        failed(seconds, "about 30 days");
}

/* Demand that the server did what it was asked to. */
static PGresult *
succeeded(PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
        failed(PQresultErrorMessage(result), "success");
    return result;
}

/* Run a statement with text parameters. */
#define QUERY(connection, sql, ...) query(connection, sql, (const char *const[]){__VA_ARGS__, NULL})

static PGresult *
query(PGconn *connection, const char *sql, const char *const *parameters)
{
    int count = 0;
    while (parameters[count] != NULL)
        count++;
    return PQexecParams(connection, sql, count, NULL, parameters, NULL, NULL, 0);
}

/* The first row's value of a column, NULL for SQL's. */
static const char *
value(const PGresult *result, const char *column)
{
    int number = PQfnumber(result, column);
    if (PQntuples(result) == 0 || number < 0 || PQgetisnull(result, 0, number))
        return NULL;
    return PQgetvalue(result, 0, number);
}

/* Demand that a statement's one value is the expected one. */
#define EXPECT(connection, expected, sql, ...) expect(expected, QUERY(connection, sql, __VA_ARGS__))

static void
expect(const char *expected, PGresult *result)
{
    same(value(succeeded(result), PQfname(result, 0)), expected);
    PQclear(result);
}

/* Run a statement that has neither parameters nor rows. */
static void
run(PGconn *connection, const char *sql)
{
    PQclear(succeeded(PQexec(connection, sql)));
}

static void
check_boolean(PGconn *connection, const char *customer)
{
    static const char *const expected[] = {"t", "t", "t", "f"};
    for (int i = 0; i < 4; i++)
        EXPECT(connection, expected[i], CONSUME, customer, "export", "1");
    PGresult *row = QUERY(connection, "SELECT skene_allows($1, $2)", customer, "export");
    if (PQftype(row, 0) != BOOLOID)
        failed("the column's type", "boolean");
    expect("f", row);
}

static void
check_decision(PGconn *connection, const char *customer)
{
    /* a time in a form that C can read */
    const char *decide = "SELECT *, extract(epoch FROM resets_at - now())::bigint AS resets_in"
                         " FROM skene_decide($1, $2, $3)";
    static const struct {
        const char *column;
        const char *expected;
        Oid type;
    } columns[] = {
        {"allowed", "t", BOOLOID},      {"reason", "ok", 0},
        {"feature", "export", 0},       {"used", "2", INT8OID},
        {"usage_limit", "3", INT8OID},  {"remaining", "1", INT8OID},
        {"retry_after", NULL, INT8OID}, {"plan", "free", 0},
        {"replayed", "f", BOOLOID},
    };
    PGresult *row = succeeded(QUERY(connection, decide, customer, "export", "2"));
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
        same(value(row, columns[i].column), columns[i].expected);
        if (columns[i].type && PQftype(row, PQfnumber(row, columns[i].column)) != columns[i].type)
            failed(columns[i].column, "of its type");
    }
    if (PQftype(row, PQfnumber(row, "resets_at")) != TIMESTAMPTZOID)
        failed("resets_at", "a timestamptz");
    thirty_days(value(row, "resets_in"));
    PQclear(row);

    row = succeeded(QUERY(connection, decide, customer, "export", "2"));
    same(value(row, "allowed"), "f");
    same(value(row, "upgrade_plan"), "pro");
    thirty_days(value(row, "retry_after"));
    PQclear(row);

    row = succeeded(QUERY(connection, decide, customer, "search", "1099511627776"));
    same(value(row, "used"), "1099511627776");
    same(value(row, "usage_limit"), NULL);
    same(value(row, "remaining"), NULL);
    same(value(row, "resets_at"), NULL);
    PQclear(row);
}

/* Two ids that nobody has: a uuid and a bigint, as text. */
static PGresult *
new_ids(PGconn *connection)
{
    return succeeded(PQexec(connection, "SELECT gen_random_uuid() AS team,"
                                        " (2^40 + random() * 2^50)::bigint AS number"));
}

static void
check_ids(PGconn *connection, const char *customer)
{
    PGresult *ids = new_ids(connection);
    const char *team = value(ids, "team"), *number = value(ids, "number");
    EXPECT(connection, "t", CONSUME, customer, "export", "1");
    EXPECT(connection, "t", "SELECT skene_consume(user_uuid => $1, feature => $2)", team, "export");
    EXPECT(connection, "t", "SELECT skene_consume(user_bigint => $1, feature => $2)", number,
           "export");
    EXPECT(connection, "1", USED, customer);
    EXPECT(connection, "1", USED, team);
    EXPECT(connection, "1", USED, number);
    PQclear(ids);
}

/* Of no stated type, as text of a stated type, and as binary. */
static void
check_positional_ids(PGconn *connection, const char *customer)
{
    PGresult *ids = new_ids(connection);
    const char *const team[] = {value(ids, "team"), "export"};
    const char *const number[] = {value(ids, "number"), "export"};
    const char *sql = "SELECT skene_consume($1, $2)";
    const Oid uuid[] = {UUIDOID, 0}, int8[] = {INT8OID, 0};
    (void) customer;

    EXPECT(connection, "t", sql, team[0], "export");
    expect("t", PQexecParams(connection, sql, 2, uuid, team, NULL, NULL, 0));
    EXPECT(connection, "2", USED, team[0]);

    long long host = atoll(number[0] ? number[0] : "0");
    uint32_t network[] = {htonl((uint32_t) (host >> 32)), htonl((uint32_t) host)};
    const char *const binary[] = {(const char *) network, "export"};
    EXPECT(connection, "t", sql, number[0], "export");
    expect("t", PQexecParams(connection, sql, 2, int8, number, NULL, NULL, 0));
    expect("t", PQexecParams(connection, sql, 2, int8, binary, (int[]){sizeof network, 0},
                             (int[]){1, 0}, 0));
    EXPECT(connection, "3", USED, number[0]);
    PQclear(ids);
}

static void
check_named(PGconn *connection, const char *customer)
{
    static const char *const replayed[] = {"f", "t"};
    for (int i = 0; i < 2; i++) {
        PGresult *row = succeeded(QUERY(connection,
                                        "SELECT * FROM skene_decide(user_id => $1, feature => $2,"
                                        " amount => $3, idempotency_key => $4)",
                                        customer, "export", "2", "order-1"));
        same(value(row, "replayed"), replayed[i]);
        same(value(row, "used"), "2");
        PQclear(row);
    }
}

static void
check_require(PGconn *connection, const char *customer)
{
    const char *require = "SELECT skene_require($1, $2, $3)";
    EXPECT(connection, "", require, customer, "export", "2");
    PGresult *denial = QUERY(connection, require, customer, "export", "2");
    const char *detail = PQresultErrorField(denial, PG_DIAG_MESSAGE_DETAIL);
    same(PQresultErrorField(denial, PG_DIAG_SQLSTATE), "PT402");
    /* libpq has no parser of JSON, but the server has */
    EXPECT(connection, "false limit_reached 1",
           "SELECT concat_ws(' ', d->'allowed', d->>'reason', d->'remaining')"
           " FROM CAST($1 AS json) AS d",
           detail ? detail : "{}");
    PQclear(denial);
    EXPECT(connection, "2", USED, customer);
}

static void
check_rollback(PGconn *connection, const char *customer)
{
    run(connection, "BEGIN");
    EXPECT(connection, "t", CONSUME, customer, "export", "3");
    run(connection, "ROLLBACK");
    EXPECT(connection, "0", USED, customer);
    run(connection, "BEGIN");
    EXPECT(connection, "t", CONSUME, customer, "export", "1");
    run(connection, "COMMIT");
    EXPECT(connection, "1", USED, customer);
}

static void
check_savepoint(PGconn *connection, const char *customer)
{
    run(connection, "BEGIN");
    EXPECT(connection, "t", CONSUME, customer, "export", "1");
    run(connection, "SAVEPOINT work");
    EXPECT(connection, "t", CONSUME, customer, "export", "2");
    run(connection, "ROLLBACK TO work");
    EXPECT(connection, "t", CONSUME, customer, "export", "1");
    run(connection, "COMMIT");
    EXPECT(connection, "2", USED, customer);
}

/* Consume one unit with a prepared statement, where the pooler lets us have one. */
static PGresult *
consume_prepared(PGconn *connection, const char *customer)
{
    const char *const parameters[] = {customer, "export", "1"};
    if (pooler)
        return PQexecParams(connection, CONSUME, 3, NULL, parameters, NULL, NULL, 0);
    return PQexecPrepared(connection, "consume", 3, parameters, NULL, NULL, 0);
}

/* Demand that a connection has this server, or another one. */
static void
expect_backend(PGconn *connection, const char *backend, bool same_one)
{
    EXPECT(connection, same_one ? "t" : "f", "SELECT pg_backend_pid() = $1", backend);
}

/*
 * The same statement on one connection, on another, and on the first again, which has another
 * server behind PgBouncer meanwhile.
 */
static void
check_pool(PGconn *connection, const char *customer)
{
    PGconn *other = pool[1];
    char somebody_else[200];
    snprintf(somebody_else, sizeof somebody_else, "%s-other", driver);
    if (!pooler) {
        PQclear(succeeded(PQprepare(connection, "consume", CONSUME, 0, NULL)));
        PQclear(succeeded(PQprepare(other, "consume", CONSUME, 0, NULL)));
    }
    expect("t", consume_prepared(connection, customer));
    PGresult *row = succeeded(PQexec(connection, "SELECT pg_backend_pid() AS pid"));
    const char *first = value(row, "pid");
    run(other, "BEGIN");
    expect_backend(other, first, pooler);
    expect("t", consume_prepared(other, customer));
    expect_backend(connection, first, !pooler);
    expect("t", consume_prepared(connection, somebody_else));
    run(other, "COMMIT");
    expect("t", consume_prepared(connection, customer));
    EXPECT(connection, "3", USED, customer);
    PQclear(row);
}

static void
check_usage(PGconn *connection, const char *customer)
{
    static const char *const expected[2][3] = {{"export", "1", "3"}, {"search", "0", ""}};
    EXPECT(connection, "t", CONSUME, customer, "export", "1");
    PGresult *rows = succeeded(QUERY(
        connection, "SELECT feature, used, usage_limit FROM skene_usage($1) ORDER BY 1", customer));
    if (PQntuples(rows) != 2)
        failed("the number of rows", "2");
    else
        for (int i = 0; i < 2; i++)
            for (int j = 0; j < 3; j++)
                same(PQgetvalue(rows, i, j), expected[i][j]); /* "" also for NULL */
    PQclear(rows);
}

static void
check_webhook(PGconn *connection, const char *customer)
{
    static char payload[4096], payer[200];
    (void) customer;
    FILE *file = fopen(getenv("EVENT_FILE"), "rb");
    size_t length = file ? fread(payload, 1, sizeof payload, file) : 0;
    if (file)
        fclose(file);

    /* the body as binary, so that nobody reads a backslash in it */
    const char *const parameters[] = {payload, getenv("EVENT_SIGNATURE")};
    expect("applied", PQexecParams(connection, "SELECT skene_stripe_webhook($1::bytea, $2)", 2,
                                   NULL, parameters, (int[]){(int) length, 0}, (int[]){1, 0}, 0));
    snprintf(payer, sizeof payer, "%s-payer", driver);
    EXPECT(connection, "pro", "SELECT plan FROM skene_check($1, $2)", payer, "export");
}

static const struct {
    const char *name;
    void (*run)(PGconn *connection, const char *customer);
} checks[] = {
    {"boolean", check_boolean},   {"decision", check_decision},
    {"ids", check_ids},           {"positional_ids", check_positional_ids},
    {"named", check_named},       {"require", check_require},
    {"rollback", check_rollback}, {"savepoint", check_savepoint},
    {"pool", check_pool},         {"usage", check_usage},
    {"webhook", check_webhook},
};

int
main(void)
{
    int status = 0;
    driver = getenv("DRIVER_NAME");
    pooler = getenv("PGBOUNCER") != NULL;
    for (int i = 0; i < 2; i++) {
        pool[i] = PQconnectdb(getenv("DATABASE_URL"));
        if (PQstatus(pool[i]) != CONNECTION_OK) {
            fputs(PQerrorMessage(pool[i]), stderr);
            return 1;
        }
    }
    /* not the minor release, which Debian changes under us */
    printf("%s version %d\n", driver, PQlibVersion() / 10000);
    if (!pooler)
        printf("%s note %s\n", driver, NOTE);

    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++) {
        char customer[200];
        snprintf(customer, sizeof customer, "%s-%s", driver, checks[i].name);
        why[0] = '\0';
        checks[i].run(pool[0], customer);
        if (why[0] == '\0')
            printf("%s %s ok\n", driver, checks[i].name);
        else {
            printf("%s %s FAILED: %s\n", driver, checks[i].name, why);
            status = 1;
        }
        for (int j = 0; j < 2; j++)
            if (PQtransactionStatus(pool[j]) != PQTRANS_IDLE)
                PQclear(PQexec(pool[j], "ROLLBACK"));
    }
    for (int i = 0; i < 2; i++)
        PQfinish(pool[i]);
    return status;
}
