#!/usr/bin/python3
"""A thin stand-in for Stripe's API: https://docs.stripe.com/api.

    stripe.py --port 0 --state DIR [--secret-file FILE]

Customers, Checkout Sessions, subscriptions, portal sessions and events, kept in
memory. POST /_control with {"complete_checkout": "cs_…"} does what a paying
visitor does: the session completes, a subscription begins, and the two events
appear in GET /v1/events and in the answer (signed when --secret-file is given).
"""

import pathlib
import time
import urllib.parse

import stripe_events
from stand_in import Answer, Request, StandIn, arguments, json_answer, run

MIN_CHECKOUT_LIFE = 30 * 60
MAX_CHECKOUT_LIFE = 24 * 3600


class Refusal(Exception):
    """An error as Stripe words it."""

    def __init__(self, status: int, message: str, *, kind: str = "invalid_request_error",
                 code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        error = {"message": message, "type": kind, "code": code, "param": param}
        self.document = {"error": {k: v for k, v in error.items() if v is not None}}

    def answer(self) -> Answer:
        return json_answer(self.status, self.document)


def parse_form(body: bytes) -> dict:
    """a[b][0][c]=x as nested objects; lists (a[0], a[]) become Python lists."""
    tree: dict = {}
    for name, value in urllib.parse.parse_qsl(body.decode(), keep_blank_values=True):
        parts = name.replace("]", "").split("[")
        node = tree
        for part, following in zip(parts, [*parts[1:], None]):
            part = part or str(len(node))
            if following is None:
                node[part] = value
            else:
                node = node.setdefault(part, {})
                if not isinstance(node, dict):
                    raise Refusal(400, f"Invalid parameter: {name}", param=name)
    return listify(tree)


def listify(node: object) -> object:
    if not isinstance(node, dict):
        return node
    if node and all(key.isdigit() for key in node):
        return [listify(node[key]) for key in sorted(node, key=int)]
    return {key: listify(value) for key, value in node.items()}


def need(form: dict, *names: str) -> None:
    for name in names:
        if not form.get(name):
            raise Refusal(400, f"Missing required param: {name}.", code="parameter_missing",
                          param=name)


class Stripe(StandIn):
    name = "stripe"

    def __init__(self, port: int, state: pathlib.Path, secret: str | None,
                 tls: list[str] | None = None) -> None:
        super().__init__(port, state, tls)
        self.secret = secret
        self.customers: dict[str, dict] = {}
        self.sessions: dict[str, dict] = {}
        self.bought: dict[str, dict] = {}  # session id: the form it was created from
        self.subscriptions: dict[str, dict] = {}
        self.events: list[dict] = []  # oldest first

    def answer(self, request: Request) -> Answer:
        try:
            self.authorize(request)
            answer = self.run_once(request)
        except Refusal as refusal:
            answer = refusal.answer()
        except ValueError as error:
            answer = Refusal(400, f"Invalid parameter: {error}").answer()
        headers = {**answer.headers, "Request-Id": stripe_events.make_id("req")}
        if answer.replayed:
            headers["Idempotent-Replayed"] = "true"
        return Answer(answer.status, answer.body, headers, answer.replayed)

    def fault_answer(self, fault: dict) -> Answer:
        status = fault.get("status", 500)
        kind = "api_error" if status >= 500 else "invalid_request_error"
        return Refusal(status, fault.get("message", "An unexpected error occurred."),
                       kind=fault.get("name", kind), code=fault.get("code")).answer()

    @staticmethod
    def authorize(request: Request) -> None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise Refusal(401, "You did not provide an API key. You need to provide your API key "
                               "in the Authorization header, using Bearer auth.")
        if not key.startswith(("sk_test_", "rk_test_")):
            raise Refusal(401, f"Invalid API Key provided: {key[:8]}****")

    def run_once(self, request: Request) -> Answer:
        """Run a POST under its idempotency key; what was refused unexecuted is not kept."""
        refused = False

        def execute() -> Answer:
            nonlocal refused
            try:
                return self.route(request)
            except Refusal as refusal:
                refused = True
                return refusal.answer()

        if request.method != "POST" or request.key is None:
            time.sleep(request.delay)
            return execute()
        if not 1 <= len(request.key) <= 255:
            raise Refusal(400, "Idempotency keys are 1 to 255 characters long.",
                          kind="idempotency_error")
        return self.keys.run(
            (request.path, request.key), request, execute, keeps=lambda _: not refused,
            mismatch=Refusal(400, "Keys for idempotent requests can only be used with the same "
                             f"parameters they were first used with: '{request.key}'.",
                             kind="idempotency_error").answer(),
            busy=Refusal(409, "There is currently another in-progress request using this "
                         "Stripe-Idempotent-Key.", kind="idempotency_error",
                         code="idempotency_key_in_use").answer())

    def route(self, request: Request) -> Answer:
        form = parse_form(request.body) if request.method == "POST" else {}
        with self.lock:
            match [request.method, *request.path.strip("/").split("/")]:
                case ["POST", "v1", "customers"]:
                    return json_answer(200, self.create_customer(form))
                case ["POST", "v1", "checkout", "sessions"]:
                    return json_answer(200, self.create_session(form))
                case ["POST", "v1", "billing_portal", "sessions"]:
                    return json_answer(200, self.create_portal_session(form))
                case ["GET", "v1", "customers", item]:
                    return self.show(self.customers, "customer", item)
                case ["GET", "v1", "checkout", "sessions", item]:
                    return self.show(self.sessions, "checkout.session", item)
                case ["GET", "v1", "subscriptions", item]:
                    return self.show(self.subscriptions, "subscription", item)
                case ["GET", "v1", "subscriptions"]:
                    return self.list_subscriptions(request)
                case ["GET", "v1", "events"]:
                    return self.list_events(request)
        raise Refusal(404, f"Unrecognized request URL ({request.method}: {request.path}).")

    @staticmethod
    def show(collection: dict[str, dict], kind: str, item: str) -> Answer:
        if item not in collection:
            raise Refusal(404, f"No such {kind}: '{item}'", code="resource_missing", param="id")
        return json_answer(200, collection[item])

    def create_customer(self, form: dict) -> dict:
        customer = {"id": stripe_events.make_id("cus"), "object": "customer",
                    "created": int(self.now()), "description": form.get("description"),
                    "email": form.get("email"), "livemode": False,
                    "metadata": form.get("metadata", {}), "name": form.get("name")}
        self.customers[customer["id"]] = customer
        return customer

    def create_session(self, form: dict) -> dict:
        need(form, "mode")
        if form["mode"] != "setup":
            need(form, "line_items")
        if form.get("customer") and form.get("customer_email"):
            raise Refusal(400, "You may only specify one of these parameters: customer, "
                               "customer_email.")
        if form.get("customer") and form["customer"] not in self.customers:
            raise Refusal(400, f"No such customer: '{form['customer']}'", code="resource_missing",
                          param="customer")
        if form.get("allow_promotion_codes") and form.get("discounts"):
            raise Refusal(400, "You may only specify one of these parameters: "
                               "allow_promotion_codes, discounts.")
        now = int(self.now())
        expires = int(form.get("expires_at") or now + MAX_CHECKOUT_LIFE)
        if not MIN_CHECKOUT_LIFE <= expires - now <= MAX_CHECKOUT_LIFE:
            raise Refusal(400, "The `expires_at` timestamp must be between 30 minutes and 24 "
                               "hours from now.", param="expires_at")
        session = stripe_events.make_session(
            form.get("customer"), created=now, mode=form["mode"], complete=False)
        session |= {"client_reference_id": form.get("client_reference_id"),
                    "metadata": form.get("metadata", {}), "expires_at": expires,
                    "customer_email": form.get("customer_email"),
                    "success_url": form.get("success_url"), "cancel_url": form.get("cancel_url")}
        self.sessions[session["id"]] = session
        self.bought[session["id"]] = form
        return session

    def create_portal_session(self, form: dict) -> dict:
        need(form, "customer")
        if form["customer"] not in self.customers:
            raise Refusal(400, f"No such customer: '{form['customer']}'", code="resource_missing",
                          param="customer")
        session_id = stripe_events.make_id("bps")
        return {"id": session_id, "object": "billing_portal.session", "livemode": False,
                "created": int(self.now()), "customer": form["customer"],
                "return_url": form.get("return_url"),
                "url": f"https://billing.stripe.com/p/session/{session_id}"}

    def list_subscriptions(self, request: Request) -> Answer:
        """Canceled ones are left out unless status says otherwise."""
        status = request.query.get("status", [None])[0]
        customer = request.query.get("customer", [None])[0]

        def wanted(subscription: dict) -> bool:
            if customer not in (None, subscription["customer"]):
                return False
            if status is None:
                return subscription["status"] != "canceled"
            return status in ("all", subscription["status"])

        return self.page(request, [s for s in self.subscriptions.values() if wanted(s)])

    def list_events(self, request: Request) -> Answer:
        types = request.query.get("type", []) + request.query.get("types[]", []) + [
            value for name, values in request.query.items()
            if name.startswith("types[") and name != "types[]" for value in values]
        events = [e for e in self.events if not types or e["type"] in types]
        compare = {"gt": int.__gt__, "gte": int.__ge__, "lt": int.__lt__, "lte": int.__le__}
        for name, test in compare.items():
            for bound in request.query.get(f"created[{name}]", []):
                events = [e for e in events if test(e["created"], int(bound))]
        return self.page(request, events)

    @staticmethod
    def page(request: Request, items: list[dict]) -> Answer:
        """One page of items (given oldest first), newest first as Stripe lists them."""
        items = items[::-1]
        limit = int(request.query.get("limit", ["10"])[0])
        if not 1 <= limit <= 100:
            raise Refusal(400, "Limit must be between 1 and 100.", param="limit")
        ids = [item["id"] for item in items]
        for name in ("starting_after", "ending_before"):
            cursor = request.query.get(name, [None])[0]
            if cursor is not None and cursor not in ids:
                raise Refusal(400, f"No such object: '{cursor}'", code="resource_missing",
                              param=name)
        if "starting_after" in request.query:
            items = items[ids.index(request.query["starting_after"][0]) + 1:]
        elif "ending_before" in request.query:
            items = items[:ids.index(request.query["ending_before"][0])]
            return json_answer(200, {"object": "list", "url": request.path,
                                     "has_more": len(items) > limit, "data": items[-limit:]})
        return json_answer(200, {"object": "list", "url": request.path,
                                 "has_more": len(items) > limit, "data": items[:limit]})

    def obey(self, order: dict) -> dict:
        """Complete a checkout, or put given objects and events in place."""
        with self.lock:
            for subscription in order.get("subscriptions", []):
                self.subscriptions[subscription["id"]] = subscription
            added = list(order.get("events", []))
            if "complete_checkout" in order:
                added += self.complete_checkout(order["complete_checkout"])
            self.events += added
        return {"events": [self.delivery(event) for event in added]}

    def complete_checkout(self, session_id: str) -> list[dict]:
        if session_id not in self.sessions:
            raise ValueError(f"no such session: {session_id}")
        session, form, now = self.sessions[session_id], self.bought[session_id], int(self.now())
        if session["status"] != "open":
            raise ValueError(f"session is {session['status']}")
        if not session["customer"]:
            session["customer"] = self.create_customer({"email": form.get("customer_email")})["id"]
        item = form["line_items"][0]
        subscription = stripe_events.make_subscription(
            session["customer"], stripe_events.make_price(item.get("price", "price_inline")), created=now,
            quantity=int(item.get("quantity", 1)))
        subscription["metadata"] = form.get("subscription_data", {}).get("metadata", {})
        self.subscriptions[subscription["id"]] = subscription
        session |= {"status": "complete", "payment_status": "paid", "url": None,
                    "subscription": subscription["id"]}
        return [stripe_events.make_event("customer.subscription.created", subscription, created=now),
                stripe_events.make_event("checkout.session.completed", dict(session), created=now)]

    def delivery(self, event: dict) -> dict:
        """An event as the webhook endpoint would receive it."""
        payload = stripe_events.encode(event)
        signature = self.secret and stripe_events.sign(payload, self.secret, int(self.now()))
        return {"id": event["id"], "type": event["type"], "payload": payload,
                "signature": signature}

    def report(self) -> dict:
        return {"customers": len(self.customers), "sessions": len(self.sessions),
                "subscriptions": len(self.subscriptions), "events": len(self.events)}


def main() -> None:
    parser = arguments("A thin stand-in for Stripe's API.")
    parser.add_argument("--secret-file", type=pathlib.Path, metavar="FILE",
                        help="its first line is the webhook secret that signs events")
    options = parser.parse_args()
    secret = None
    if options.secret_file:
        secret = options.secret_file.read_text(encoding="utf-8").split("\n")[0].strip()
    run(Stripe(options.port, options.state, secret, options.tls))


if __name__ == "__main__":
    main()
