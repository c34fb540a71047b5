"""The whole application under test: a real server of two processes, real HTTP, real PostgreSQL.

DATABASE_URL names an empty database as a superuser, on a server that preloads skene_gate;
STRIPE_WEBHOOK_SECRET is what the server's skene_gate.stripe_webhook_secret_file contains.
"""

import asyncio
import hashlib
import hmac
import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest

HERE = Path(__file__).parent.parent
ADMIN_URL = os.environ["DATABASE_URL"]
APP_PASSWORD = "app"
WORKERS = 2
CONFIGURED_LIMIT = 100


def query(sql: str, *arguments) -> list[asyncpg.Record]:
    """Run SQL as the superuser."""

    async def run():
        connection = await asyncpg.connect(ADMIN_URL)
        try:
            return await connection.fetch(sql, *arguments)
        finally:
            await connection.close()

    return asyncio.run(run())


def wait_until(what: str, condition, seconds: float = 30):
    """Poll until a condition is true and return what it returned."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.1)
    return result


def app_url() -> str:
    """Make the application's address of the database from the superuser's."""
    parts = urlsplit(ADMIN_URL)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"app:{APP_PASSWORD}@{host}").geturl()


def migrate() -> str:
    """Run the migration as a deploy would and return what it printed."""
    environment = {**os.environ, "ADMIN_DATABASE_URL": ADMIN_URL}
    command = [sys.executable, "-m", "app.migrate"]
    return subprocess.run(
        command, cwd=HERE, env=environment, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


@pytest.fixture(scope="module")
def server():
    """Set up the database and run the application; yields its address."""
    if not query("SELECT FROM pg_roles WHERE rolname = 'app'"):
        query("CREATE ROLE app LOGIN")
    query(f"ALTER ROLE app PASSWORD '{APP_PASSWORD}'")
    migrate()

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "app.main:app", "--workers", str(WORKERS)]
    process = subprocess.Popen(
        [*command, "--port", str(port), "--log-level", "warning"],
        cwd=HERE,
        env={**os.environ, "DATABASE_URL": app_url()},
    )

    def every_worker_has_opened_its_pool():
        assert process.poll() is None, "the server has stopped"
        sessions = """SELECT count(*) FROM pg_stat_activity
                       WHERE usename = 'app' AND datname = current_database()"""
        return query(sessions)[0]["count"] >= 2 * WORKERS

    try:
        wait_until("server", every_worker_has_opened_its_pool)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def client(server):
    with httpx.Client(base_url=server, timeout=60) as client:
        yield client


@pytest.fixture
def user(client):
    """A user who has just signed up."""
    user = f"u{uuid.uuid4().hex[:12]}"
    body = {"user_id": user, "email": f"{user}@example.com"}
    assert client.post("/signup", json=body).status_code == 201
    return user


def run_feature(client, user, name="export", **headers) -> httpx.Response:
    return client.post(f"/api/features/{name}", headers={"X-User": user, **headers})


def usage_of(client, user) -> dict:
    (row,) = client.get("/api/usage", headers={"X-User": user}).json()
    return row


def rows_of(user) -> int:
    return query("SELECT count(*) FROM feature_runs WHERE user_id = $1", user)[0]["count"]


@contextmanager
def trigger_on_runs(user: str, timing: str, body: str):
    """Have a constraint trigger run PL/pgSQL when a run of this user is written."""
    name = f"test_{user}"
    query(f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {body} END$$")
    query(f"""CREATE CONSTRAINT TRIGGER {name} AFTER INSERT ON feature_runs
              DEFERRABLE {timing} FOR EACH ROW WHEN (NEW.user_id = '{user}')
              EXECUTE FUNCTION {name}()""")
    try:
        yield
    finally:
        query(f"DROP FUNCTION {name} CASCADE")


def stripe_event(user: str) -> bytes:
    """Make the event that Stripe sends when a subscription begins."""
    now = int(time.time())
    return json.dumps({
        "id": f"evt_{user}",
        "object": "event",
        "api_version": "2025-09-30.clover",
        "created": now,
        "type": "customer.subscription.created",
        "livemode": False,
        "data": {"object": {
            "id": f"sub_{user}",
            "object": "subscription",
            "customer": f"cus_{user}",
            "status": "active",
            "livemode": False,
            "currency": "eur",
            "metadata": {"skene_user_id": user},
            "items": {"object": "list", "data": [{
                "id": f"si_{user}",
                "object": "subscription_item",
                "quantity": 1,
                "current_period_start": now,
                "current_period_end": now + 30 * 86400,
                "price": {
                    "id": "price_monthly",
                    "object": "price",
                    "currency": "eur",
                    "unit_amount": 900,
                    "product": "prod_1",
                    "recurring": {"interval": "month", "interval_count": 1},
                },
            }]},
        }},
    }).encode()  # fmt: skip


def post_to_webhook(client, payload: bytes, secret: str | None = None) -> httpx.Response:
    """Sign a payload as Stripe does and post it."""
    secret = secret or os.environ["STRIPE_WEBHOOK_SECRET"]
    now = int(time.time())
    signed = f"{now}.".encode() + payload
    signature = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    headers = {"Content-Type": "application/json", "Stripe-Signature": f"t={now},v1={signature}"}
    return client.post("/webhooks/stripe", content=payload, headers=headers)


async def run_feature_at_once(server: str, user: str, clients: int, requests: int) -> Counter:
    """Let several clients, each on its own connection, send requests one after the other."""

    async def one_client():
        async with httpx.AsyncClient(base_url=server, timeout=60) as client:
            for _ in range(requests // clients):
                response = await run_feature(client, user)
                statuses[response.status_code] += 1

    statuses = Counter()
    await asyncio.gather(*(one_client() for _ in range(clients)))
    return statuses


def test_a_second_migration_changes_nothing(server):
    assert migrate() == ""


def test_the_application_runs_without_special_rights(server):
    (role,) = query(
        "SELECT rolsuper OR rolcreaterole AS special FROM pg_roles WHERE rolname = 'app'"
    )
    assert not role["special"]


def test_from_the_limit_over_the_invitation_to_the_payment(server, client, user):
    statuses = asyncio.run(run_feature_at_once(server, user, clients=50, requests=300))
    assert statuses == {200: CONFIGURED_LIMIT, 402: 200}
    assert rows_of(user) == CONFIGURED_LIMIT
    usage = usage_of(client, user)
    assert (usage["used"], usage["usage_limit"]) == (CONFIGURED_LIMIT, CONFIGURED_LIMIT)

    denial = run_feature(client, user)
    assert denial.status_code == 402
    decision = denial.json()
    assert not decision["allowed"]
    assert decision["reason"] == "limit_reached"
    assert decision["message"] == "You've reached your free tier limit. Upgrade to continue."
    assert (decision["plan"], decision["upgrade_plan"]) == ("free", "paid")
    assert datetime.fromisoformat(decision["resets_at"]) > datetime.now(UTC)

    def mail():
        return query(
            "SELECT subject, text FROM skene.mailbox WHERE to_address = $1",
            f"{user}@example.com",
        )

    (invitation,) = wait_until("invitation", mail)
    assert invitation["subject"]
    assert decision["message"] in invitation["text"]

    event = stripe_event(user)
    assert post_to_webhook(client, event).status_code == 200
    assert post_to_webhook(client, event).status_code == 200, "Stripe may repeat an event"

    admitted = run_feature(client, user)
    assert admitted.status_code == 200
    assert admitted.json()["decision"]["plan"] == "paid"
    assert rows_of(user) == CONFIGURED_LIMIT + 1
    usage = usage_of(client, user)
    assert (usage["used"], usage["usage_limit"]) == (CONFIGURED_LIMIT + 1, None)
    assert len(mail()) == 1, "201 denials make one invitation"


def test_when_the_client_sees_200_the_run_is_committed(client, user):
    with trigger_on_runs(user, "INITIALLY DEFERRED", "PERFORM pg_sleep(0.5); RETURN NULL;"):
        response = run_feature(client, user)
        committed = rows_of(user)
    assert response.status_code == 200
    assert committed == 1


def test_a_commit_that_fails_is_a_500_and_counts_nothing(client, user):
    with trigger_on_runs(user, "INITIALLY DEFERRED", "RAISE 'refused at commit';"):
        assert run_feature(client, user).status_code == 500
    assert rows_of(user) == 0
    assert usage_of(client, user)["used"] == 0


def test_an_error_of_the_database_in_the_route_counts_nothing(client, user):
    with trigger_on_runs(user, "INITIALLY IMMEDIATE", "RAISE 'refused at once';"):
        assert run_feature(client, user).status_code == 500
    assert rows_of(user) == 0
    assert usage_of(client, user)["used"] == 0


def test_an_exception_in_the_route_counts_nothing(client, user):
    assert run_feature(client, user, "no_such_feature").status_code == 404
    assert usage_of(client, user)["used"] == 0


def test_a_repeated_idempotency_key_runs_once(client, user):
    key = {"Idempotency-Key": "order-17"}
    first, second = (run_feature(client, user, **key) for _ in range(2))
    assert (first.status_code, second.status_code) == (200, 200)
    assert not first.json()["decision"]["replayed"]
    assert second.json()["decision"]["replayed"]
    assert rows_of(user) == 1
    assert usage_of(client, user)["used"] == 1


def test_an_idempotency_key_of_a_failed_request_is_free_again(client, user):
    key = {"Idempotency-Key": "order-18"}
    assert run_feature(client, user, "no_such_feature", **key).status_code == 404
    assert not run_feature(client, user, **key).json()["decision"]["replayed"]
    assert rows_of(user) == 1


@pytest.mark.parametrize("key", ["", "two words", "k" * 256])
def test_an_idempotency_key_must_be_short_and_visible(client, user, key):
    assert run_feature(client, user, **{"Idempotency-Key": key}).status_code == 422
    assert usage_of(client, user)["used"] == 0


def test_who_is_not_signed_in_gets_nothing(client):
    assert client.post("/api/features/export").status_code == 401
    assert client.post("/api/features/export", headers={"X-User": ""}).status_code == 401
    assert client.get("/api/usage").status_code == 401


def test_sign_up_refuses_what_is_no_address_or_taken(client, user):
    bad = {"user_id": f"{user}x", "email": "not an address"}
    assert client.post("/signup", json=bad).status_code == 422
    assert client.post("/signup", json={**bad, "email": "a@example.com"}).status_code == 201
    assert client.post("/signup", json={**bad, "email": "b@example.com"}).status_code == 409


def test_a_forged_event_changes_nothing(client, user):
    event = stripe_event(user)
    assert post_to_webhook(client, event, secret="whsec_forged").status_code == 400
    assert client.post("/webhooks/stripe", content=event).status_code == 400
    assert usage_of(client, user)["plan"] == "free"


def test_a_signed_body_that_is_no_event_is_refused(client):
    assert post_to_webhook(client, b"not json").status_code == 400
    assert post_to_webhook(client, b"{}").status_code == 400
