"""The application: sign up, run features, look at the account, hear from Stripe.

Run it with `uvicorn app.main:app --workers 2`. What is counted and where the limits lie
is in skene.config.ts; no route knows a number.
"""

from contextlib import asynccontextmanager
from typing import Annotated

import asyncpg
from fastapi import FastAPI, Header, HTTPException, Request
from pydantic import BaseModel, Field

from app.database import create_pool, transaction
from app.gate import Decision, Denied, Gated, User, answer_denial

FEATURES = {"export", "report", "search"}

# Anything else that goes wrong is a 500. Stripe sends the event again after either.
REFUSED_EVENTS = (
    asyncpg.InvalidAuthorizationSpecificationError,  # bad signature
    asyncpg.InvalidParameterValueError,  # not a Stripe event
    asyncpg.ProgramLimitExceededError,  # too large
)


@asynccontextmanager
async def lifespan(app: FastAPI):
    """Keep the pool open while the process serves."""
    async with create_pool() as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan)
app.add_exception_handler(Denied, answer_denial)


class SignUp(BaseModel):
    user_id: str = Field(pattern=r"^[\w.-]{1,63}$")
    email: str = Field(max_length=254)


class FeatureRun(BaseModel):
    run_id: int | None  # null for a repeated Idempotency-Key: the run is there already
    feature: str
    decision: Decision


@app.post("/signup", status_code=201)
async def sign_up(request: Request, body: SignUp) -> SignUp:
    """Create the user, and tell the gate where to send an invitation to upgrade."""
    try:
        async with transaction(request.app.state.pool) as connection:
            await connection.execute(
                "INSERT INTO users (id, email) VALUES ($1, $2)", body.user_id, body.email
            )
            await connection.execute(
                "SELECT skene_identify($1, email => $2)", body.user_id, body.email
            )
    except asyncpg.UniqueViolationError:
        raise HTTPException(409, "This user id is taken")
    except asyncpg.InvalidParameterValueError:
        raise HTTPException(422, "This is not an e-mail address")
    return body


@app.post("/api/features/{name}", responses={402: {"model": Decision}})
async def run_feature(name: str, admission: Gated) -> FeatureRun:
    """Run a feature. The request is counted already; what raises here takes that back."""
    if name not in FEATURES:
        raise HTTPException(404, "No such feature")
    run_id = None
    if not admission.decision.replayed:
        run_id = await admission.connection.fetchval(
            "INSERT INTO feature_runs (user_id, feature) VALUES ($1, $2) RETURNING id",
            admission.user_id,
            name,
        )
    return FeatureRun(run_id=run_id, feature=name, decision=admission.decision)


@app.get("/api/usage")
async def usage(request: Request, user: User) -> list[dict]:
    """List what the user has used of each feature, for an account page."""
    rows = await request.app.state.pool.fetch("SELECT * FROM skene_usage($1)", user)
    return [dict(row) for row in rows]


@app.post("/webhooks/stripe")
async def stripe_webhook(request: Request, stripe_signature: Annotated[str, Header()] = ""):
    """Hand an event to the database as it came: the signature covers the raw bytes."""
    payload = await request.body()
    async with transaction(request.app.state.pool) as connection:
        try:
            await connection.execute(
                "SELECT skene_stripe_webhook($1::bytea, $2)", payload, stripe_signature
            )
        except REFUSED_EVENTS:
            raise HTTPException(400, "Not an event signed by Stripe")
    return {"received": True}
