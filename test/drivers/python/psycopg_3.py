"""psycopg 3: parameters travel to the server with a type where Python knows one."""

import contextlib
import re

import psycopg
import psycopg_pool
from psycopg.rows import dict_row

import contract


class Session:
    def __init__(self, connection):
        self.connection = connection
        self.transaction = connection.transaction

    def execute(self, sql, *parameters):
        return self.connection.execute(re.sub(r"\$\d", "%s", sql), parameters)

    def one(self, sql, *parameters):
        return self.execute(sql, *parameters).fetchone()

    def all(self, sql, *parameters):
        return self.execute(sql, *parameters).fetchall()


class Psycopg(contract.Driver):
    version = psycopg.__version__
    note = ("Ids go in as `str`, `uuid.UUID` or `int`. `exception.sqlstate`, "
            "`exception.diag.message_detail`. Prepared statements off: `prepare_threshold=None`.")

    def __init__(self):
        options = {"autocommit": True, "row_factory": dict_row}
        if contract.POOLER:
            options["prepare_threshold"] = None
        self.pool = psycopg_pool.ConnectionPool(contract.URL, min_size=2, kwargs=options, open=True)

    @contextlib.contextmanager
    def session(self):
        with self.pool.connection() as connection:
            yield Session(connection)

    def error(self, exception):
        return exception.sqlstate, exception.diag.message_detail


if __name__ == "__main__":
    driver = Psycopg()
    with driver.pool:
        contract.run(driver)
