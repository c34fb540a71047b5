#!/usr/bin/python3
"""Stripe events as the webhook endpoint receives them: built and signed.

    stripe_events.py subscription.created --customer cus_1 --user u1 --price price_123
        --amount 2900 --status active --secret-file FILE

prints {"payload": "…", "signature": "t=…,v1=…"}. The payload has the shape of API
version 2025-09-30.clover: the billing period is on the item, not the subscription.
Fields: https://docs.stripe.com/api/events/object, …/subscriptions/object and
…/checkout/sessions/object; signature: https://docs.stripe.com/webhooks#verify-manually.
"""

import argparse
import hashlib
import hmac
import json
import pathlib
import secrets
import time

API_VERSION = "2025-09-30.clover"
MONTH = 30 * 24 * 3600
METADATA_KEY = "skene_user_id"

EVENT_TYPES = {
    "subscription.created": "customer.subscription.created",
    "subscription.updated": "customer.subscription.updated",
    "subscription.deleted": "customer.subscription.deleted",
    "checkout.completed": "checkout.session.completed",
}


def make_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(12)}"


def sign(payload: str | bytes, secret: str, timestamp: int) -> str:
    """The Stripe-Signature header: the key is the whole secret, whsec_ included."""
    raw = payload.encode() if isinstance(payload, str) else payload
    mac = hmac.new(secret.encode(), f"{timestamp}.".encode() + raw, hashlib.sha256)
    return f"t={timestamp},v1={mac.hexdigest()}"


def make_price(price: str, amount: int = 2900, currency: str = "usd",
               product: str = "prod_pro", lookup_key: str | None = None) -> dict:
    return {"id": price, "object": "price", "active": True, "billing_scheme": "per_unit",
            "currency": currency, "livemode": False, "lookup_key": lookup_key, "metadata": {},
            "product": product, "type": "recurring", "unit_amount": amount,
            "recurring": {"interval": "month", "interval_count": 1, "usage_type": "licensed"}}


def make_subscription(customer: str, price: dict, *, user: str | None = None,
                      status: str = "active", quantity: int = 1, created: int | None = None,
                      period_start: int | None = None, subscription_id: str | None = None,
                      cancel_at: int | None = None) -> dict:
    """A subscription with one item; only the item has a billing period."""
    created = int(time.time()) if created is None else created
    start = created if period_start is None else period_start
    subscription_id = subscription_id or make_id("sub")
    ended = created if status in ("canceled", "incomplete_expired") else None
    return {
        "id": subscription_id, "object": "subscription", "billing_mode": {"type": "flexible"},
        "cancel_at": cancel_at, "cancel_at_period_end": False, "canceled_at": ended,
        "cancellation_details": {"comment": None, "feedback": None,
                                 "reason": "cancellation_requested" if ended else None},
        "collection_method": "charge_automatically", "created": created,
        "currency": price["currency"], "customer": customer, "ended_at": ended,
        "items": {"object": "list", "has_more": False, "total_count": 1,
                  "url": f"/v1/subscription_items?subscription={subscription_id}",
                  "data": [{"id": "si_" + subscription_id.removeprefix("sub_"),
                            "object": "subscription_item", "created": created,
                            "current_period_start": start, "current_period_end": start + MONTH,
                            "metadata": {}, "price": price, "quantity": quantity,
                            "subscription": subscription_id}]},
        "latest_invoice": "in_" + subscription_id.removeprefix("sub_"), "livemode": False,
        "metadata": {METADATA_KEY: user} if user else {}, "pause_collection": None,
        "schedule": None, "start_date": created, "status": status,
        "trial_end": start + MONTH if status == "trialing" else None,
        "trial_start": start if status == "trialing" else None}


def make_session(customer: str | None, *, user: str | None = None, amount: int = 2900,
                 currency: str = "usd", created: int | None = None, mode: str = "subscription",
                 session_id: str | None = None, subscription: str | None = None,
                 complete: bool = True, **more: object) -> dict:
    """A Checkout Session; client_reference_id and metadata stay on it alone."""
    created = int(time.time()) if created is None else created
    session_id = session_id or make_id("cs_test")
    return {
        "id": session_id, "object": "checkout.session", "amount_subtotal": amount,
        "amount_total": amount, "cancel_url": None, "client_reference_id": user,
        "created": created, "currency": currency, "customer": customer,
        "customer_details": None, "customer_email": None, "expires_at": created + 24 * 3600,
        "livemode": False, "metadata": {METADATA_KEY: user} if user else {}, "mode": mode,
        "payment_status": "paid" if complete else "unpaid",
        "status": "complete" if complete else "open", "subscription": subscription,
        "success_url": None,
        "url": None if complete else f"https://checkout.stripe.com/c/pay/{session_id}", **more}


def make_event(event_type: str, data_object: dict, *, event_id: str | None = None,
               created: int | None = None, previous: dict | None = None) -> dict:
    """Wrap an object into an event; previous is what an update changed."""
    data: dict = {"object": data_object}
    if previous is not None:
        data["previous_attributes"] = previous
    return {"id": event_id or make_id("evt"), "object": "event", "api_version": API_VERSION,
            "created": int(time.time()) if created is None else created, "data": data,
            "livemode": False, "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None}, "type": event_type}


def encode(event: dict) -> str:
    """The bytes that go over the wire; sign exactly these."""
    return json.dumps(event, indent=2, ensure_ascii=False)


def build(options: argparse.Namespace) -> dict:
    """The event that the command line asks for."""
    event_type = EVENT_TYPES.get(options.type, options.type)
    if event_type.startswith("checkout.session."):
        body = make_session(options.customer, user=options.user, amount=options.amount,
                            currency=options.currency, created=options.created,
                            subscription=options.subscription or make_id("sub"))
    else:
        deleted = event_type.endswith(".deleted")
        body = make_subscription(
            options.customer, make_price(options.price, options.amount, options.currency,
                                         options.product, options.lookup_key),
            user=options.user, status="canceled" if deleted else options.status,
            created=options.created, subscription_id=options.subscription,
            quantity=options.quantity, cancel_at=options.cancel_at)
    previous = {"status": options.previous_status} if options.previous_status else None
    if previous is None and event_type.endswith(".updated"):
        previous = {}
    return make_event(event_type, body, event_id=options.id, created=options.created,
                      previous=previous)


def main() -> None:
    parser = argparse.ArgumentParser(description="Build and sign a Stripe event.")
    parser.add_argument("type", help="an event type, or one of: " + ", ".join(EVENT_TYPES))
    parser.add_argument("--customer", default="cus_1")
    parser.add_argument("--user", help="our customer: metadata and client_reference_id")
    parser.add_argument("--subscription", help="id; made up unless given")
    parser.add_argument("--price", default="price_123")
    parser.add_argument("--product", default="prod_pro")
    parser.add_argument("--lookup-key")
    parser.add_argument("--amount", type=int, default=2900, help="in the smallest unit")
    parser.add_argument("--currency", default="usd")
    parser.add_argument("--quantity", type=int, default=1)
    parser.add_argument("--status", default="active")
    parser.add_argument("--previous-status", help="what an update changed the status from")
    parser.add_argument("--cancel-at", type=int, help="a pending cancellation, Unix seconds")
    parser.add_argument("--created", type=int, default=int(time.time()), help="Unix seconds")
    parser.add_argument("--signed-at", type=int, help="Unix seconds; now unless given")
    parser.add_argument("--id", help="event id; made up unless given")
    parser.add_argument("--secret-file", type=pathlib.Path, required=True,
                        help="its first line is the signing secret")
    options = parser.parse_args()

    payload = encode(build(options))
    secret = options.secret_file.read_text(encoding="utf-8").split("\n")[0].strip()
    signed_at = int(time.time()) if options.signed_at is None else options.signed_at
    print(json.dumps({"payload": payload, "signature": sign(payload, secret, signed_at)}))


if __name__ == "__main__":
    main()
