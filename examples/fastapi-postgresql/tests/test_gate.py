"""Which HTTP response each kind of denial becomes."""

import asyncio
import json
from datetime import UTC, datetime

import pytest

from app.gate import Decision, Denied, answer_denial

RESETS_AT = datetime(2026, 1, 31, tzinfo=UTC)


def answer(reason: str, retry_after: int | None):
    decision = Decision(
        allowed=False,
        reason=reason,
        feature="export",
        used=5,
        usage_limit=5,
        remaining=0,
        resets_at=RESETS_AT,
        retry_after=retry_after,
        plan="free",
        upgrade_plan="paid",
        message="Upgrade to continue.",
        upgrade_url=None,
        replayed=False,
    )
    return asyncio.run(answer_denial(None, Denied(decision)))


@pytest.mark.parametrize(
    ("reason", "retry_after", "status", "header"),
    [
        ("limit_reached", None, 402, None),
        ("not_entitled", None, 402, None),
        ("past_due", None, 402, None),
        ("rate_limited", 3, 429, "3"),
        ("contended", 1, 503, "1"),
    ],
)
def test_a_denial_becomes_the_response_for_its_reason(reason, retry_after, status, header):
    response = answer(reason, retry_after)
    assert response.status_code == status
    assert response.headers.get("Retry-After") == header


def test_the_body_is_the_decision_with_iso_times():
    body = json.loads(answer("limit_reached", None).body)
    assert (body["allowed"], body["reason"], body["remaining"]) == (False, "limit_reached", 0)
    assert datetime.fromisoformat(body["resets_at"]) == RESETS_AT
