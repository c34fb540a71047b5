"""SQLAlchemy 2 over asyncpg."""

import asyncio
import contextlib
import uuid

import sqlalchemy
from sqlalchemy import func, literal, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

import contract
from sqlalchemy_psycopg import KEEP, Project, statement

runner = asyncio.Runner()


class Session:
    def __init__(self, connection):
        self.connection = connection

    def all(self, sql, *parameters):
        async def execute():
            result = await self.connection.execute(*statement(sql, parameters))
            return result.mappings().all()
        if not self.connection.in_transaction():
            with self.transaction():
                return runner.run(execute())
        return runner.run(execute())

    def one(self, sql, *parameters):
        return self.all(sql, *parameters)[0]

    @contextlib.contextmanager
    def transaction(self):
        transaction = (self.connection.begin_nested() if self.connection.in_transaction()
                       else self.connection.begin())

        async def start():
            await transaction
        runner.run(start())
        try:
            yield
        except BaseException:
            runner.run(transaction.rollback())
            raise
        runner.run(transaction.commit())


class SqlAlchemyAsync(contract.Driver):
    version = sqlalchemy.__version__
    note = ("`exception.orig.sqlstate`; the detail is one level down, in "
            "`exception.orig.__cause__.detail`. Ids as with asyncpg, the rest as with psycopg. "
            "Prepared statements can't be switched off: give each a name of its own and keep none, "
            "`connect_args={\"statement_cache_size\": 0, \"prepared_statement_cache_size\": 0, "
            "\"prepared_statement_name_func\": lambda: f\"s_{uuid.uuid4()}\"}`.")
    any_id_type = False

    def __init__(self):
        # it always names its statements: with a name of its own, none meets another's
        options = {"statement_cache_size": 0, "prepared_statement_cache_size": 0,
                   "prepared_statement_name_func": lambda: f"s_{uuid.uuid4()}"}
        self.engine = create_async_engine(
            contract.URL.replace("postgresql:", "postgresql+asyncpg:"),
            pool_size=2, connect_args=options if contract.POOLER else {})

    @contextlib.contextmanager
    def session(self):
        async def take():
            return await self.engine.connect()
        connection = runner.run(take())
        try:
            yield Session(connection)
        finally:
            runner.run(connection.close())

    def error(self, exception):
        return exception.orig.sqlstate, exception.orig.__cause__.detail

    def orm(self, customer):
        async def work():
            async with AsyncSession(self.engine) as session, session.begin():
                gate = sqlalchemy.insert(Project).from_select(
                    ["owner"],
                    select(literal(customer)).where(func.skene_consume(customer, "export", 2)))
                counts = [(await session.execute(gate, execution_options=KEEP)).rowcount for _ in range(2)]
                contract.same(counts, [1, 0])
                decision = func.skene_check(customer, "export").table_valued("allowed", "remaining")
                row = (await session.execute(select(decision))).one()
                contract.same(tuple(row), (True, 1))
        runner.run(work())


if __name__ == "__main__":
    contract.run(SqlAlchemyAsync())
