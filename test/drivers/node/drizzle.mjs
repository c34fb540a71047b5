// Drizzle over node-postgres: values in its sql`` template become parameters.

import assert from "node:assert/strict";

import { sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/node-postgres";
import { bigint, pgTable, text } from "drizzle-orm/pg-core";
import pg from "pg";

import { run, URL_OF_DATABASE, version_of } from "./contract.mjs";

const projects = pgTable("projects", {
  id: bigint({ mode: "number" }).primaryKey().generatedAlwaysAsIdentity(),
  owner: text().notNull(),
});

const pool = new pg.Pool({ connectionString: URL_OF_DATABASE, max: 2 });

/** What sql`SELECT f(${value}, …)` is, from "SELECT f($1, …)" and values. */
function template(statement, values) {
  const pieces = statement.split(/\$\d/).map((piece) => sql.raw(piece));
  return sql.join(pieces.flatMap((piece, i) => (i === 0 ? [piece] : [sql`${values[i - 1]}`, piece])));
}

class Session {
  constructor(database) {
    this.database = database;
  }

  async all(statement, ...values) {
    return (await this.database.execute(template(statement, values))).rows;
  }

  async one(statement, ...values) {
    return (await this.all(statement, ...values))[0];
  }

  call(statement, ...values) {
    return this.all(statement, ...values);
  }

  transaction(work) {
    return this.database.transaction((nested) => work(new Session(nested)));
  }
}

await run({
  version: version_of("drizzle-orm"),
  note:
    "`error.cause` has `code` and `detail`. From `db.execute()` bigints and `resets_at` are strings. " +
    "It prepares only what `.prepare(name)` names.",
  any_id_type: true,
  bigint: "string",
  async session(work) {
    const client = await pool.connect();
    try {
      await work(new Session(drizzle(client)));
    } finally {
      client.release();
    }
  },
  error: ({ cause }) => ({ state: cause.code, detail: cause.detail }),
  moment: (value) => Date.parse(value),
  async orm(customer) {
    const database = drizzle(pool);
    await database.insert(projects).values({ owner: customer });
    const counted = () =>
      database
        .select({ counted: sql`skene_consume(${projects.owner}, 'export', 3)` })
        .from(projects)
        .where(sql`${projects.owner} = ${customer}`);
    assert.deepEqual([await counted(), await counted()], [[{ counted: true }], [{ counted: false }]]);
    const allowed = await database
      .select()
      .from(projects)
      .where(sql`${projects.owner} = ${customer} AND skene_allows(${projects.owner}, 'export')`);
    assert.deepEqual(allowed, []);
  },
});
