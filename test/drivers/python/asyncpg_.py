"""asyncpg: every statement is prepared, and the server says of which type parameters are."""

import asyncio
import contextlib

import asyncpg

import contract

runner = asyncio.Runner()


class Session:
    def __init__(self, connection):
        self.connection = connection

    def one(self, sql, *parameters):
        return runner.run(self.connection.fetchrow(sql, *parameters))

    def all(self, sql, *parameters):
        return runner.run(self.connection.fetch(sql, *parameters))

    @contextlib.contextmanager
    def transaction(self):
        transaction = self.connection.transaction()
        runner.run(transaction.start())
        try:
            yield
        except BaseException:
            runner.run(transaction.rollback())
            raise
        runner.run(transaction.commit())


class Asyncpg(contract.Driver):
    version = asyncpg.__version__
    note = ("Positional ids are `str`: pass a `uuid.UUID` or an `int` as `user_uuid => $1`, "
            "`user_bigint => $1` (or `$1::uuid`, `$1::bigint`). `exception.sqlstate`, "
            "`exception.detail`. Prepared statements off: `statement_cache_size=0`.")
    any_id_type = False

    def __init__(self):
        options = {"statement_cache_size": 0} if contract.POOLER else {}

        async def open_pool():
            return await asyncpg.create_pool(contract.URL, min_size=2, max_size=2, **options)
        self.pool = runner.run(open_pool())

    @contextlib.contextmanager
    def session(self):
        async def take():
            return await self.pool.acquire()
        connection = runner.run(take())
        try:
            yield Session(connection)
        finally:
            runner.run(self.pool.release(connection))

    def error(self, exception):
        return exception.sqlstate, exception.detail


if __name__ == "__main__":
    contract.run(Asyncpg())
