"""SQLAlchemy 2 over psycopg 3."""

import contextlib
import re

import sqlalchemy
from sqlalchemy import func, literal, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session as OrmSession, mapped_column

import contract

KEEP = {"preserve_rowcount": True}  # without it the rowcount of INSERT … SELECT is -1


class Base(DeclarativeBase):
    pass


class Project(Base):
    __tablename__ = "projects"
    id: Mapped[int] = mapped_column(sqlalchemy.BigInteger, primary_key=True)
    owner: Mapped[str]


def statement(sql, parameters):
    """Their text() knows :p1, not $1, and only where no colon follows: CAST, not ::."""
    return (sqlalchemy.text(re.sub(r"\$(\d)", r":p\1", sql)),
            {f"p{i}": value for i, value in enumerate(parameters, 1)})


class Session:
    def __init__(self, connection):
        self.connection = connection

    def all(self, sql, *parameters):
        if not self.connection.in_transaction():
            with self.connection.begin():
                return self.all(sql, *parameters)
        return self.connection.execute(*statement(sql, parameters)).mappings().all()

    def one(self, sql, *parameters):
        return self.all(sql, *parameters)[0]

    def transaction(self):
        if self.connection.in_transaction():
            return self.connection.begin_nested()
        return self.connection.begin()


class SqlAlchemy(contract.Driver):
    version = sqlalchemy.__version__
    note = ("`exception.orig` has `sqlstate` and `diag.message_detail`. In `text()` write "
            "`CAST(:id AS uuid)`: in `:id::uuid` it sees no parameter. Row functions: "
            "`func.skene_check(…).table_valued(\"allowed\", \"used\")`. The row count of an "
            "`INSERT … SELECT … WHERE skene_consume(…)` is -1 without "
            "`execution_options={\"preserve_rowcount\": True}`. Prepared statements off: "
            "`connect_args={\"prepare_threshold\": None}`.")

    def __init__(self):
        options = {"prepare_threshold": None} if contract.POOLER else {}
        self.engine = sqlalchemy.create_engine(
            contract.URL.replace("postgresql:", "postgresql+psycopg:"),
            pool_size=2, connect_args=options)

    @contextlib.contextmanager
    def session(self):
        with self.engine.connect() as connection:
            yield Session(connection)

    def error(self, exception):
        return exception.orig.sqlstate, exception.orig.diag.message_detail

    def orm(self, customer):
        with OrmSession(self.engine) as session, session.begin():
            gate = sqlalchemy.insert(Project).from_select(
                ["owner"], select(literal(customer)).where(func.skene_consume(customer, "export", 2)))
            contract.same([session.execute(gate, execution_options=KEEP).rowcount for _ in range(2)], [1, 0])
            decision = func.skene_check(customer, "export").table_valued("allowed", "remaining")
            contract.same(tuple(session.execute(select(decision)).one()), (True, 1))
            projects = select(Project).where(func.skene_allows(Project.owner, "export", 2),
                                             Project.owner == customer)
            contract.same(session.scalars(projects).all(), [])


if __name__ == "__main__":
    contract.run(SqlAlchemy())
