// node-postgres: parameters travel as text of no stated type.

import pg from "pg";

import { moment_of_date, POOLER, run, SqlSession, URL_OF_DATABASE, version_of } from "./contract.mjs";

const pool = new pg.Pool({ connectionString: URL_OF_DATABASE, max: 2 });

await run({
  version: version_of("pg"),
  note:
    "Ids go in as string, number or bigint. `used` and other bigints are strings unless " +
    "`pg.types.setTypeParser(20, Number)`. `error.code`, `error.detail`. It prepares " +
    "only queries with a `name`.",
  any_id_type: true,
  bigint: "string",
  async session(work) {
    const client = await pool.connect();
    // a name makes a prepared statement of it
    const execute = async (text, values) =>
      (await client.query({ name: POOLER ? undefined : text.slice(0, 63), text, values })).rows;
    try {
      await work(new SqlSession(execute));
    } finally {
      client.release();
    }
  },
  error: ({ code, detail }) => ({ state: code, detail }),
  moment: moment_of_date,
});
