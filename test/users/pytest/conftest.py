"""A database for the run, and for each test a transaction in it that rolls back."""

import time

import psycopg
import pytest

CONFIG = """{
    "plans": {"free": {"default": true}, "pro": {}},
    "features": {"export": {"limit": {"free": 3, "pro": null}, "period": "30d"}},
    "settings": {"emailFrom": "Shop <hello@shop.example>", "upgradeUrl": "https://shop.example/pricing"}
}"""


@pytest.fixture(scope="session")
def database():
    with psycopg.connect("dbname=postgres", autocommit=True) as server:
        server.execute("DROP DATABASE IF EXISTS pytest_shop")
        server.execute("CREATE DATABASE pytest_shop")
        with psycopg.connect("dbname=pytest_shop") as connection:
            connection.execute("CREATE EXTENSION skene_gate")
            connection.execute("SELECT skene_apply(%s)", [CONFIG])
        yield "dbname=pytest_shop"
        server.execute("DROP DATABASE pytest_shop")


@pytest.fixture
def db(database):
    """A transaction of which nothing remains."""
    with psycopg.connect(database) as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def committing(database):
    """A connection that commits; afterwards the gate forgets what was used."""
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection
        connection.execute("SELECT skene_reset()")


@pytest.fixture
def wait_for():
    def wait(connection, query, values=()):
        """The first row of a query that has none yet."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            row = connection.execute(query, values).fetchone()
            if row:
                return row
            time.sleep(0.05)
        pytest.fail(f"waited in vain for: {query}")

    return wait
