"""The gate: a dependency that counts a request, or answers 402, inside its transaction.

A route that takes `admission: Gated` runs in an open transaction in which the database
has already counted the request. The route writes on `admission.connection`, so the usage
and the work commit together: an exception in the route takes both back.

The transaction ends before the response is sent. That is what scope="function" means;
with FastAPI's default scope a client could be told 200 and the commit fail afterwards.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import asyncpg
from fastapi import Depends, Header, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from app.database import transaction

# The feature is found by method and path, among the endpoints of skene.config.ts. A gated
# route that no endpoint matches is a mistake: it fails and doesn't go uncounted.
CONSUME = """
    SELECT * FROM skene_consume_request($1, $2, $3, idempotency_key => $4, on_no_match => 'error')
"""

# Any other denial is answered by paying.
STATUS_OF_REASON = {"rate_limited": 429, "contended": 503}


class Decision(BaseModel):
    """The database's answer to one request."""

    allowed: bool
    reason: str
    feature: str
    used: int | None
    usage_limit: int | None
    remaining: int | None
    resets_at: datetime | None
    retry_after: int | None
    plan: str | None
    upgrade_plan: str | None
    message: str | None
    upgrade_url: str | None
    replayed: bool | None


class Denied(Exception):
    """A request that the gate did not admit."""

    def __init__(self, decision: Decision):
        self.decision = decision


@dataclass
class Admission:
    """An admitted request: who it is for, and the transaction that it was counted in."""

    user_id: str
    connection: asyncpg.Connection
    decision: Decision


def current_user(x_user: Annotated[str, Header(max_length=63)] = "") -> str:
    """Tell who is asking. A stand-in: put the application's authentication here."""
    if not x_user:
        raise HTTPException(401, "Sign in first")
    return x_user


User = Annotated[str, Depends(current_user)]
IdempotencyKey = Annotated[str | None, Header(pattern=r"^[!-~]{1,255}$")]


async def admit(
    request: Request, user: User, idempotency_key: IdempotencyKey = None
) -> AsyncIterator[Admission]:
    """Open the request's transaction and count the request in it."""
    async with transaction(request.app.state.pool) as connection:
        row = await connection.fetchrow(
            CONSUME, user, request.method, request.scope["path"], idempotency_key
        )
        decision = Decision.model_validate(dict(row))
        if not decision.allowed:
            raise Denied(decision)
        yield Admission(user, connection, decision)


Gated = Annotated[Admission, Depends(admit, scope="function")]


async def answer_denial(request: Request, denied: Denied) -> JSONResponse:
    """Turn a denial into a response: the decision as JSON."""
    decision = denied.decision
    headers = {}
    if decision.retry_after is not None:
        headers["Retry-After"] = str(decision.retry_after)
    return JSONResponse(
        decision.model_dump(mode="json"), STATUS_OF_REASON.get(decision.reason, 402), headers
    )
