// The contract as a JavaScript driver meets it: the same checks for each of them.
//
// A driver's file calls run() with: version, note, and
//   session(work)    calls work with a connection from the driver's pool:
//                    one(sql, ...parameters), all(sql, ...), call(sql, ...) for what returns
//                    nothing, and transaction(work) with such a connection again; nested, a
//                    savepoint
//   error(thrown)    its SQLSTATE and DETAIL
//   bigint           the type of `used` in JavaScript
//   moment(value)    a timestamptz as the driver hands it over, in milliseconds
//   any_id_type      may a number or bigint stand where any overload could be meant? Where
//                    not, the driver must refuse before anything is counted
//   orm(customer)    for ORMs: the functions in the ORM's own words
//
// Prints a line for each check, "NAME CHECK ok" or "NAME CHECK FAILED: why".

import assert from "node:assert/strict";
import { randomInt, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";

const NAME = process.env.DRIVER_NAME;
export const URL_OF_DATABASE = process.env.DATABASE_URL;
export const POOLER = "PGBOUNCER" in process.env;

const day = 24 * 60 * 60;

export class Undo extends Error {}

/** A session of a driver that leaves transactions to SQL. execute(sql, values) gives rows. */
export class SqlSession {
  constructor(execute, depth = 0) {
    this.execute = execute;
    this.depth = depth;
  }

  all(sql, ...values) {
    return this.execute(sql, values);
  }

  async one(sql, ...values) {
    return (await this.execute(sql, values))[0];
  }

  call(sql, ...values) {
    return this.execute(sql, values);
  }

  async transaction(work) {
    const [begin, undo, keep] = this.depth
      ? ["SAVEPOINT s", "ROLLBACK TO s", "RELEASE s"]
      : ["BEGIN", "ROLLBACK", "COMMIT"];
    await this.execute(begin, []);
    try {
      const result = await work(new SqlSession(this.execute, this.depth + 1));
      await this.execute(keep, []);
      return result;
    } catch (thrown) {
      await this.execute(undo, []);
      throw thrown;
    }
  }
}

/** The milliseconds of a Date that really is one. */
export function moment_of_date(value) {
  assert.ok(value instanceof Date);
  return value.getTime();
}

/** The version of an installed package. */
export const version_of = (name) =>
  JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url))).version;

/** Run work, which leaves its transaction by throwing Undo. */
async function undone(work) {
  await assert.rejects(work, Undo);
}

/** A bigint column: drivers differ in whether it is a string, a bigint or a number. */
const units = (value) => (value === null ? null : Number(value));

const near = (seconds, days) =>
  assert.ok(
    seconds > (days - 1) * day && seconds <= days * day + 5,
    `${seconds} s are not ${days} days`,
  );

const consume = async (session, customer, amount = 1) =>
  (await session.one("SELECT skene_consume($1, $2, $3) AS counted", customer, "export", amount)).counted;

const used = async (session, customer) =>
  (
    await session.one(
      "SELECT used::integer FROM skene_check($1, $2)",
      customer,
      "export",
    )
  ).used;

const checks = {
  async boolean(session, customer) {
    for (const expected of [true, true, true, false])
      assert.equal(await consume(session, customer), expected);
    const row = await session.one("SELECT skene_allows($1, $2) AS allowed", customer, "export");
    assert.equal(row.allowed, false);
  },

  async decision(session, customer, driver) {
    const decide = "SELECT * FROM skene_decide($1, $2, $3)";
    let row = await session.one(decide, customer, "export", 2);
    assert.deepEqual(
      [row.allowed, row.reason, row.feature, row.retry_after, row.plan, row.replayed],
      [true, "ok", "export", null, "free", false],
    );
    assert.equal(typeof row.used, driver.bigint);
    assert.deepEqual([row.used, row.usage_limit, row.remaining].map(units), [2, 3, 1]);
    near((driver.moment(row.resets_at) - Date.now()) / 1000, 30);

    row = await session.one(decide, customer, "export", 2);
    assert.deepEqual([row.allowed, row.upgrade_plan], [false, "pro"]);
    near(units(row.retry_after), 30);

    row = await session.one(decide, customer, "search", 2 ** 40);
    assert.equal(units(row.used), 2 ** 40);
    assert.deepEqual([row.usage_limit, row.remaining, row.resets_at], [null, null, null]);
  },

  async ids(session, customer) {
    const team = randomUUID();
    const number = 2n ** 60n + BigInt(randomInt(2 ** 40));
    assert.equal(await consume(session, customer), true);
    for (const [name, value] of [["user_uuid", team], ["user_bigint", number]]) {
      const sql = `SELECT skene_consume(${name} => $1, feature => $2) AS counted`;
      assert.equal((await session.one(sql, value, "export")).counted, true);
    }
    for (const value of [customer, team, String(number)]) assert.equal(await used(session, value), 1);
  },

  async positional_ids(session, _, driver) {
    for (const value of [randomUUID(), 2n ** 60n + BigInt(randomInt(2 ** 40)), randomInt(2 ** 30)]) {
      const expected = driver.any_id_type || typeof value === "string";
      const counted = await consume(session, value).catch((thrown) => {
        if (expected) throw thrown;
        return false;
      });
      assert.equal(counted, expected);
      assert.equal(await used(session, String(value)), Number(expected));
    }
  },

  async named(session, customer) {
    for (const replayed of [false, true]) {
      const row = await session.one(
        "SELECT used, replayed FROM skene_decide(user_id => $1, feature => $2, amount => $3, idempotency_key => $4)",
        customer, "export", 2, "order-1",
      );
      assert.deepEqual([units(row.used), row.replayed], [2, replayed]);
    }
  },

  async require(session, customer, driver) {
    const require = "SELECT skene_require($1, $2, $3)";
    await session.call(require, customer, "export", 2);
    const thrown = await session.call(require, customer, "export", 2).then(
      () => assert.fail("no error"),
      (error) => error,
    );
    const { state, detail } = driver.error(thrown);
    assert.equal(state, "PT402");
    const decision = JSON.parse(detail);
    assert.deepEqual(
      [decision.allowed, decision.reason, decision.remaining],
      [false, "limit_reached", 1],
    );
    assert.equal(await used(session, customer), 2);
  },

  async rollback(session, customer) {
    await undone(() =>
      session.transaction(async (transaction) => {
        assert.equal(await consume(transaction, customer, 3), true);
        throw new Undo();
      }),
    );
    assert.equal(await used(session, customer), 0);
    await session.transaction((transaction) => consume(transaction, customer));
    assert.equal(await used(session, customer), 1);
  },

  async savepoint(session, customer) {
    await session.transaction(async (transaction) => {
      assert.equal(await consume(transaction, customer), true);
      await undone(() =>
        transaction.transaction(async (savepoint) => {
          assert.equal(await consume(savepoint, customer, 2), true);
          throw new Undo();
        }),
      );
      assert.equal(await consume(transaction, customer), true);
    });
    assert.equal(await used(session, customer), 2);
  },

  // The same statement on one connection, on another of the pool, and on the first again,
  // which has another server behind PgBouncer meanwhile.
  async pool(session, customer, driver) {
    const backend = async (s) => (await s.one("SELECT pg_backend_pid() AS pid")).pid;
    assert.equal(await consume(session, customer), true);
    const first = await backend(session);
    await driver.session((other) =>
      other.transaction(async (transaction) => {
        assert.equal((await backend(transaction)) === first, POOLER);
        assert.equal(await consume(transaction, customer), true);
        assert.equal((await backend(session)) !== first, POOLER);
        assert.equal(await consume(session, `${customer}-other`), true);
      }),
    );
    assert.equal(await consume(session, customer), true);
    assert.equal(await used(session, customer), 3);
  },

  async usage(session, customer) {
    assert.equal(await consume(session, customer), true);
    const rows = await session.all("SELECT * FROM skene_usage($1)", customer);
    assert.deepEqual(
      rows.map((row) => [row.feature, units(row.used), units(row.usage_limit)]).sort(),
      [["export", 1, 3], ["search", 0, null]],
    );
  },

  async webhook(session) {
    const row = await session.one(
      "SELECT skene_stripe_webhook($1::bytea, $2) AS outcome",
      readFileSync(process.env.EVENT_FILE),
      process.env.EVENT_SIGNATURE,
    );
    assert.equal(row.outcome, "applied");
    const { plan } = await session.one("SELECT plan FROM skene_check($1, $2)", `${NAME}-payer`, "export");
    assert.equal(plan, "pro");
  },
};

export async function run(driver) {
  console.log(`${NAME} version ${driver.version}`);
  if (driver.note && !POOLER) console.log(`${NAME} note ${driver.note}`);
  const all = { ...checks };
  if (driver.orm) all.orm = (_, customer) => driver.orm(customer);
  let failed = 0;
  for (const [name, check] of Object.entries(all)) {
    try {
      await driver.session((session) => check(session, `${NAME}-${name}`, driver));
      console.log(`${NAME} ${name} ok`);
    } catch (thrown) {
      failed++;
      console.log(`${NAME} ${name} FAILED: ${String(thrown).replace(/\s+/g, " ")}`);
    }
  }
  process.exit(failed ? 1 : 0);
}
