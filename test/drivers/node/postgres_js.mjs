// postgres.js: statements are prepared unless told otherwise.

import postgres from "postgres";

import { moment_of_date, POOLER, run, SqlSession, URL_OF_DATABASE, version_of } from "./contract.mjs";

// it does not read a socket's directory from a URL
const { searchParams, pathname, username } = new URL(URL_OF_DATABASE.replace("@/", "@localhost/"));
const sql = postgres({
  host: searchParams.get("host"),
  port: Number(searchParams.get("port")),
  user: username,
  database: pathname.slice(1),
  max: 2,
  prepare: !POOLER,
});

await run({
  version: version_of("postgres"),
  note:
    "Ids go in as string, number or bigint. `used` and other bigints are strings unless " +
    "`types: { bigint: postgres.BigInt }`. `error.code`, `error.detail`. Prepared statements off: " +
    "`prepare: false`.",
  any_id_type: true,
  bigint: "string",
  async session(work) {
    const client = await sql.reserve();
    try {
      await work(new SqlSession((text, values) => client.unsafe(text, values, { prepare: !POOLER })));
    } finally {
      client.release();
    }
  },
  error: ({ code, detail }) => ({ state: code, detail }),
  moment: moment_of_date,
});
