"""psycopg2: parameters become literals in the statement's text."""

import contextlib
import re

import psycopg2
import psycopg2.extras
import psycopg2.pool

import contract


class Session:
    def __init__(self, connection):
        connection.autocommit = True
        self.connection, self.depth = connection, 0

    def all(self, sql, *parameters):
        with self.connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
            cursor.execute(re.sub(r"\$\d", "%s", sql), parameters)
            return cursor.fetchall() if cursor.description else None

    def one(self, sql, *parameters):
        return self.all(sql, *parameters)[0]

    @contextlib.contextmanager
    def transaction(self):
        begin, undo, keep = ("SAVEPOINT s", "ROLLBACK TO s", "RELEASE s") if self.depth else (
            "BEGIN", "ROLLBACK", "COMMIT")
        self.all(begin)
        self.depth += 1
        try:
            yield
            self.all(keep)
        except BaseException:
            self.all(undo)
            raise
        finally:
            self.depth -= 1


class Psycopg2(contract.Driver):
    version = psycopg2.__version__.split()[0]
    note = ("Ids go in as `str`, `int`, or, after `psycopg2.extras.register_uuid()`, `uuid.UUID`. "
            "`exception.pgcode`, `exception.diag.message_detail`. It prepares nothing.")

    def __init__(self):
        psycopg2.extras.register_uuid()
        self.pool = psycopg2.pool.SimpleConnectionPool(2, 2, contract.URL)

    @contextlib.contextmanager
    def session(self):
        connection = self.pool.getconn()
        try:
            yield Session(connection)
        finally:
            self.pool.putconn(connection)

    def error(self, exception):
        return exception.pgcode, exception.diag.message_detail


if __name__ == "__main__":
    contract.run(Psycopg2())
