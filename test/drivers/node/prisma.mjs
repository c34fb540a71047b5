// Prisma over its node-postgres adapter, which needs no engine binary.

import assert from "node:assert/strict";

import { PrismaPg } from "@prisma/adapter-pg";
import { PrismaClient } from "@prisma/client";

import { moment_of_date, run, URL_OF_DATABASE, version_of } from "./contract.mjs";

class Session {
  constructor(client, depth = 0) {
    this.client = client;
    this.depth = depth;
  }

  all(sql, ...values) {
    return this.client.$queryRawUnsafe(sql, ...values);
  }

  async one(sql, ...values) {
    return (await this.all(sql, ...values))[0];
  }

  call(sql, ...values) {
    return this.client.$executeRawUnsafe(sql, ...values);
  }

  async transaction(work) {
    if (this.depth === 0) return this.client.$transaction((nested) => work(new Session(nested, 1)));
    await this.client.$executeRaw`SAVEPOINT s`;
    try {
      const result = await work(this);
      await this.client.$executeRaw`RELEASE s`;
      return result;
    } catch (thrown) {
      await this.client.$executeRaw`ROLLBACK TO s`;
      throw thrown;
    }
  }
}

// A client runs each statement on any of its connections: two clients of one connection each.
const free = [1, 2].map(
  () => new PrismaClient({ adapter: new PrismaPg({ connectionString: URL_OF_DATABASE, max: 1 }) }),
);

await run({
  version: version_of("@prisma/client"),
  note:
    "`$queryRaw` reads no `void`, and says so after the call has counted: `skene_require` through " +
    "`$executeRaw`. `used` is a `bigint`. The error is `P2010`; `error.meta.driverAdapterError.cause` has " +
    "`originalCode` (PT402) and `detail`. It prepares nothing unless given a `statementNameGenerator`.",
  any_id_type: true,
  bigint: "bigint",
  async session(work) {
    const client = free.pop();
    try {
      await work(new Session(client));
    } finally {
      free.push(client);
    }
  },
  error({ meta }) {
    const { originalCode, detail } = meta.driverAdapterError.cause;
    return { state: originalCode, detail };
  },
  moment: moment_of_date,
  async orm(customer) {
    const [client] = free;
    const create_project = () =>
      client.$transaction(async (transaction) => {
        const [{ counted }] = await transaction.$queryRaw`
          SELECT skene_consume(${customer}, 'export', 3) AS counted`;
        if (counted) await transaction.projects.create({ data: { owner: customer } });
        return counted;
      });
    assert.deepEqual([await create_project(), await create_project()], [true, false]);
    assert.equal(await client.projects.count({ where: { owner: customer } }), 1);
  },
});
