"""The contract as a Python driver meets it: the same checks for each of them.

A driver's file subclasses Driver: how it connects, passes parameters, opens
transactions, and how its exception shows what the server said. Prints a line for each
check, "NAME CHECK ok" or "NAME CHECK FAILED: why".
"""

import contextlib
import datetime
import json
import os
import pathlib
import random
import sys
import uuid

NAME = os.environ["DRIVER_NAME"]
URL = os.environ["DATABASE_URL"]
POOLER = "PGBOUNCER" in os.environ


class Undo(Exception):
    """Raised to leave a transaction without its work."""


class Driver:
    version = ""
    note = ""
    # May a uuid or an integer stand where any overload could be meant? Where not, the
    # driver must refuse before anything is counted.
    any_id_type = True

    @contextlib.contextmanager
    def session(self):
        """A connection from the driver's pool: one(sql, *parameters), all(sql, ...),
        and transaction(), a context manager; nested, a savepoint."""
        raise NotImplementedError

    def error(self, exception):
        """SQLSTATE and DETAIL of an exception."""
        raise NotImplementedError

    def orm(self, customer):
        """For ORMs: a boolean and a row function in the ORM's own words."""


def same(actual, expected):
    if actual != expected or type(actual) is not type(expected):
        raise AssertionError(f"{actual!r} is not {expected!r}")


def near(wait, days):
    """Is a time to wait, in seconds, about so many days?"""
    day = 24 * 60 * 60
    if not (days - 1) * day < wait <= days * day + 5:
        raise AssertionError(f"{wait!r} s are not {days} days")


class Contract:
    def __init__(self, driver, session):
        self.driver, self.session = driver, session

    def consume(self, customer, amount=1, session=None):
        row = (session or self.session).one(
            "SELECT skene_consume($1, $2, $3) AS counted", customer, "export", amount)
        return row["counted"]

    def used(self, customer):
        row = self.session.one("SELECT used FROM skene_check($1, $2)", customer, "export")
        return row["used"]

    def check_boolean(self, customer):
        for expected in (True, True, True, False):
            same(self.consume(customer), expected)
        row = self.session.one("SELECT skene_allows($1, $2) AS allowed", customer, "export")
        same(row["allowed"], False)

    def check_decision(self, customer):
        decide = "SELECT * FROM skene_decide($1, $2, $3)"
        row = self.session.one(decide, customer, "export", 2)
        for column, expected in {"allowed": True, "reason": "ok", "feature": "export", "used": 2,
                                 "usage_limit": 3, "remaining": 1, "retry_after": None,
                                 "plan": "free", "replayed": False}.items():
            same(row[column], expected)
        near((row["resets_at"] - datetime.datetime.now(datetime.timezone.utc)).total_seconds(), 30)

        row = self.session.one(decide, customer, "export", 2)
        same(row["allowed"], False)
        same(row["upgrade_plan"], "pro")
        same(type(row["retry_after"]), int)
        near(row["retry_after"], 30)

        row = self.session.one(decide, customer, "search", 2**40)
        same(row["used"], 2**40)
        for column in ("usage_limit", "remaining", "resets_at"):
            same(row[column], None)

    def check_ids(self, customer):
        team, number = uuid.uuid4(), random.randrange(2**40, 2**60)
        same(self.consume(customer), True)
        for name, value in (("user_uuid", team), ("user_bigint", number)):
            row = self.session.one(f"SELECT skene_consume({name} => $1, feature => $2) AS counted",
                                   value, "export")
            same(row["counted"], True)
        for value in (customer, str(team), str(number)):
            same(self.used(value), 1)

    def check_positional_ids(self, customer):
        for value in (uuid.uuid4(), random.randrange(2**40, 2**60), random.randrange(2**15)):
            before = self.used(str(value))
            try:
                counted = self.consume(value)
            except Exception:
                if self.driver.any_id_type:
                    raise
                counted = False
            same(counted, self.driver.any_id_type)
            same(self.used(str(value)), before + int(counted))

    def check_named(self, customer):
        for replayed in (False, True):
            row = self.session.one(
                "SELECT used, replayed FROM skene_decide(user_id => $1, feature => $2, "
                "amount => $3, idempotency_key => $4)", customer, "export", 2, "order-1")
            same(row["replayed"], replayed)
            same(row["used"], 2)

    def check_require(self, customer):
        require = "SELECT skene_require($1, $2, $3)"
        self.session.one(require, customer, "export", 2)
        try:
            self.session.one(require, customer, "export", 2)
        except Exception as exception:
            state, detail = self.driver.error(exception)
        else:
            raise AssertionError("no exception")
        same(state, "PT402")
        decision = json.loads(detail)
        same((decision["allowed"], decision["reason"], decision["remaining"]),
             (False, "limit_reached", 1))
        same(self.used(customer), 2)

    def check_rollback(self, customer):
        with contextlib.suppress(Undo), self.session.transaction():
            same(self.consume(customer, 3), True)
            raise Undo
        same(self.used(customer), 0)
        with self.session.transaction():
            same(self.consume(customer), True)
        same(self.used(customer), 1)

    def check_savepoint(self, customer):
        with self.session.transaction():
            same(self.consume(customer), True)
            with contextlib.suppress(Undo), self.session.transaction():
                same(self.consume(customer, 2), True)
                raise Undo
            same(self.consume(customer), True)
        same(self.used(customer), 2)

    def check_pool(self, customer):
        """The same statement on one connection, on another of the pool, and on the first
        again, which has another server behind PgBouncer meanwhile."""
        backend = "SELECT pg_backend_pid() AS pid"
        for i in range(6):  # psycopg prepares what it has seen five times
            same(self.consume(f"{customer}-{i}"), True)
        first = self.session.one(backend)["pid"]
        with self.driver.session() as other, other.transaction():
            same(other.one(backend)["pid"] == first, POOLER)
            same(self.consume(customer, session=other), True)
            same(self.session.one(backend)["pid"] != first, POOLER)
            same(self.consume(f"{customer}-0"), True)
        same(self.consume(customer, 2), True)

    def check_usage(self, customer):
        same(self.consume(customer), True)
        rows = {row["feature"]: row for row in
                self.session.all("SELECT * FROM skene_usage($1)", customer)}
        same(sorted(rows), ["export", "search"])
        same((rows["export"]["used"], rows["export"]["usage_limit"]), (1, 3))
        same((rows["search"]["used"], rows["search"]["usage_limit"]), (0, None))

    def check_webhook(self, _):
        payload = pathlib.Path(os.environ["EVENT_FILE"]).read_bytes()
        row = self.session.one("SELECT skene_stripe_webhook(CAST($1 AS bytea), $2) AS outcome",
                               payload, os.environ["EVENT_SIGNATURE"])
        same(row["outcome"], "applied")
        row = self.session.one("SELECT plan FROM skene_check($1, $2)", f"{NAME}-payer", "export")
        same(row["plan"], "pro")


def run(driver):
    print(f"{NAME} version {driver.version}")
    if driver.note and not POOLER:
        print(f"{NAME} note {driver.note}")
    checks = {name.removeprefix("check_"): getattr(Contract, name)
              for name in vars(Contract) if name.startswith("check_")}
    if type(driver).orm is not Driver.orm:
        checks["orm"] = lambda contract, customer: contract.driver.orm(customer)
    failed = 0
    for name, check in checks.items():
        try:
            with driver.session() as session:
                check(Contract(driver, session), f"{NAME}-{name}")
            print(f"{NAME} {name} ok")
        except Exception as exception:
            failed += 1
            why = " ".join(f"{type(exception).__name__}: {exception}".split())
            print(f"{NAME} {name} FAILED: {why}")
    sys.exit(failed > 0)
