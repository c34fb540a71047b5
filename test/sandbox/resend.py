#!/usr/bin/python3
"""A stand-in for Resend's API: https://resend.com/docs/api-reference.

    resend.py --port 0 --state DIR [--rate N]

Each accepted e-mail becomes DIR/mail/NNN.json, with its parts in .html and .txt
beside it. Faults and the clock are set through POST /_control (see README.md).
"""

import json
import pathlib
import re
import time
import uuid

from stand_in import Answer, Request, StandIn, arguments, json_answer, run

ADDRESS = re.compile(r"[^\s<>,@\"]+@[^\s<>,@\"]+")
NAMED_ADDRESS = re.compile(rf"(?:[^<>\r\n]*<{ADDRESS.pattern}>|{ADDRESS.pattern})")
TAG = re.compile(r"[A-Za-z0-9_-]{1,256}")
MAX_RECIPIENTS = 50
MAX_BATCH = 100


# https://resend.com/docs/api-reference/errors
ERRORS = {
    "invalid_idempotency_key": (400, "The key must be between 1-256 chars."),
    "validation_error": (400, "We found an error with one or more fields in the request."),
    "missing_api_key": (401, "Missing API key in the authorization header."),
    "restricted_api_key": (401, "This API key is restricted to only send emails."),
    "invalid_api_key": (403, "API key is invalid."),
    "suspended_api_key": (403, "This API key is suspended."),
    "invalid_permission": (403, "The API key does not have the permission."),
    "domain_not_verified": (403, "The acme.test domain is not verified."),
    "not_found": (404, "The requested endpoint does not exist."),
    "method_not_allowed": (405, "Method is not allowed for the requested path."),
    "invalid_idempotent_request": (409, "Same idempotency key used with a different request payload."),
    "concurrent_idempotent_requests": (409, "Same idempotency key used while original request is "
                                            "still in progress."),
    "resource_locked": (409, "The resource is locked."),
    "invalid_attachment": (422, "Attachment must have either a `content` or `path`."),
    "invalid_from_address": (422, "Invalid `from` field."),
    "invalid_access": (422, "Access must be \"full_access\" or \"sending_access\"."),
    "invalid_parameter": (422, "The parameter must be a valid UUID."),
    "invalid_region": (422, "Region must be one of the supported ones."),
    "missing_required_field": (422, "Missing `to` field."),
    "rate_limit_exceeded": (429, "Too many requests. You can only make 2 requests per second."),
    "daily_quota_exceeded": (429, "You have reached your daily email sending quota."),
    "monthly_quota_exceeded": (429, "You have reached your monthly email sending quota."),
    "application_error": (500, "An unexpected error occurred."),
    "internal_server_error": (500, "An unexpected error occurred."),
    "service_unavailable": (503, "The service is unavailable."),
}
# Not all say their name.
NAMED_OTHERWISE = {"domain_not_verified": "validation_error"}


class Refusal(Exception):
    """An error as Resend words it."""

    def __init__(self, status: int, name: str, message: str) -> None:
        super().__init__(message)
        self.status, self.name, self.message = status, name, message

    def answer(self) -> Answer:
        return json_answer(self.status, {"statusCode": self.status, "name": self.name,
                                         "message": self.message})


def check_email(mail: object) -> dict:
    """Raise Refusal for what the real API would not take."""
    if not isinstance(mail, dict):
        raise Refusal(422, "validation_error", "The email must be an object.")
    template = mail.get("template")
    for name in ("from", "to", "subject"):
        if not mail.get(name) and (name == "to" or not template):
            raise Refusal(422, "missing_required_field", f"Missing `{name}` field.")
    if template is not None:
        if not isinstance(template, dict) or not template.get("id"):
            raise Refusal(422, "missing_required_field", "Missing `template.id` field.")
        if mail.get("html") or mail.get("text"):
            raise Refusal(422, "validation_error",
                          "`template` cannot be used together with `html` or `text`.")
        values = template.get("variables", {})
        if not isinstance(values, dict) or not all(
                isinstance(v, (str, int, float)) for v in values.values()):
            raise Refusal(422, "validation_error", "Variables must be strings or numbers.")
    elif not mail.get("html") and not mail.get("text"):
        raise Refusal(422, "missing_required_field", "Missing `html` or `text` field.")

    form = "The email address needs to follow the `email@example.com` or " \
           "`Name <email@example.com>` format."
    sender = mail.get("from")
    if sender is not None and not (isinstance(sender, str) and NAMED_ADDRESS.fullmatch(sender)):
        raise Refusal(422, "invalid_from_address", f"Invalid `from` field. {form}")
    for name in ("to", "cc", "bcc", "reply_to"):
        people = mail.get(name) or []
        people = [people] if isinstance(people, str) else people
        if not isinstance(people, list) or len(people) > MAX_RECIPIENTS or not all(
                isinstance(p, str) and NAMED_ADDRESS.fullmatch(p) for p in people):
            raise Refusal(422, "validation_error", f"Invalid `{name}` field. {form}")
    for name in ("subject", "html", "text"):
        if not isinstance(mail.get(name, ""), str):
            raise Refusal(422, "validation_error", f"The `{name}` field must be a string.")
    headers = mail.get("headers") or {}
    if not isinstance(headers, dict) or not all(
            isinstance(v, str) and not re.search(r"[\r\n]", k + v) for k, v in headers.items()):
        raise Refusal(422, "validation_error", "Invalid `headers` field.")
    for tag in mail.get("tags") or []:
        if not isinstance(tag, dict) or not all(
                isinstance(tag.get(part), str) and TAG.fullmatch(tag[part])
                for part in ("name", "value")):
            raise Refusal(422, "validation_error",
                          "Tags should only contain ASCII letters, numbers, underscores, or dashes.")
    return mail


class Resend(StandIn):
    name = "resend"

    def __init__(self, port: int, state: pathlib.Path, rate: int, files: bool = True,
                 tls: list[str] | None = None) -> None:
        super().__init__(port, state, tls)
        self.rate = rate
        self.files = files
        self.window = (0, 0)  # second, requests in it
        self.mails: dict[str, dict] = {}
        self.accepted_by_key: dict[str, int] = {}
        self.accepted_by_recipient: dict[str, int] = {}
        (state / "mail").mkdir(exist_ok=True)

    def answer(self, request: Request) -> Answer:
        if not request.headers.get("user-agent"):
            return Answer(403, b"error code: 1010", {"Content-Type": "text/plain"})
        limits = self.count_request()
        try:
            self.authorize(request)
            if limits and "retry-after" in limits:
                raise Refusal(429, "rate_limit_exceeded",
                              "Too many requests. You can only make "
                              f"{self.rate} requests per second.")
            answer = self.route(request)
        except Refusal as refusal:
            answer = refusal.answer()
        except json.JSONDecodeError:
            answer = Refusal(400, "validation_error", "The body is not valid JSON.").answer()
        return Answer(answer.status, answer.body, {**answer.headers, **limits}, answer.replayed)

    def fault_answer(self, fault: dict) -> Answer:
        if "body" in fault:
            return Answer(fault.get("status", 502), fault["body"].encode(),
                          {"Content-Type": "text/html"})
        if fault["kind"] == "error":
            name = fault["name"]
            status, message = ERRORS[name]
            return Refusal(status, NAMED_OTHERWISE.get(name, name), message).answer()
        status = fault.get("status", 500)
        return Refusal(status, fault.get("name", "internal_server_error"),
                       fault.get("message", "An unexpected error occurred.")).answer()

    def count_request(self) -> dict[str, str]:
        """The rate limit's headers; retry-after is among them when it is exceeded."""
        if not self.rate:
            return {}
        with self.lock:
            second, count = int(time.monotonic()), self.window[1]
            self.window = (second, count + 1 if self.window[0] == second else 1)
            left = self.rate - self.window[1]
        limits = {"ratelimit-limit": str(self.rate), "ratelimit-remaining": str(max(left, 0)),
                  "ratelimit-reset": "1"}
        if left < 0:
            limits["retry-after"] = "1"
        return limits

    @staticmethod
    def authorize(request: Request) -> None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise Refusal(401, "missing_api_key", "Missing API key in the authorization header.")
        if not key.startswith("re_"):
            raise Refusal(403, "invalid_api_key", "API key is invalid.")

    def route(self, request: Request) -> Answer:
        match [request.method, *request.path.strip("/").split("/")]:
            case ["POST", "emails"]:
                return self.once(request, self.send_one)
            case ["POST", "emails", "batch"]:
                return self.once(request, self.send_batch)
            case ["GET", "emails", mail_id]:
                return self.show(mail_id)
            case [_, "emails"] | [_, "emails", "batch"]:
                raise Refusal(405, "method_not_allowed",
                              "Method is not allowed for the requested path.")
        raise Refusal(404, "not_found", "The requested endpoint does not exist.")

    def once(self, request: Request, send) -> Answer:
        """Run a sending endpoint under its idempotency key, if there is one."""
        def execute() -> Answer:
            try:
                return send(request)
            except Refusal as refusal:
                return refusal.answer()

        if request.key is None:
            time.sleep(request.delay)
            return execute()
        if not 1 <= len(request.key) <= 256:
            raise Refusal(400, "invalid_idempotency_key", "The key must be between 1-256 chars.")
        # Only what was accepted is remembered: the documentation speaks of sends alone.
        return self.keys.run(
            (request.method, request.path, request.key), request, execute,
            keeps=lambda answer: answer.status == 200,
            mismatch=Refusal(409, "invalid_idempotent_request", "Same idempotency key used "
                             "with a different request payload.").answer(),
            busy=Refusal(409, "concurrent_idempotent_requests", "Same idempotency key used "
                         "while original request is still in progress.").answer())

    def send_one(self, request: Request) -> Answer:
        mail = check_email(json.loads(request.body))
        return json_answer(200, {"id": self.accept(mail, request.key)})

    def send_batch(self, request: Request) -> Answer:
        mails = json.loads(request.body)
        if not isinstance(mails, list) or not 1 <= len(mails) <= MAX_BATCH:
            raise Refusal(422, "validation_error", f"A batch takes 1 to {MAX_BATCH} emails.")
        good, errors = [], []
        for index, mail in enumerate(mails):
            try:
                if "attachments" in check_email(mail):
                    raise Refusal(422, "validation_error", "No attachments in a batch.")
                good.append(mail)
            except Refusal as refusal:
                if request.headers.get("x-batch-validation") != "permissive":
                    raise
                errors.append({"index": index, "message": refusal.message})
        document = {"data": [{"id": self.accept(mail, request.key)} for mail in good]}
        if errors:
            document["errors"] = errors
        return json_answer(200, document)

    def accept(self, mail: dict, key: str | None) -> str:
        """Take responsibility for a mail: from here on it counts as sent."""
        mail_id = str(uuid.uuid4())
        created = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(self.now()))
        with self.lock:
            stem = self.state / "mail" / f"{len(self.mails) + 1:03}"
            self.mails[mail_id] = {**mail, "id": mail_id, "created_at": created}
            if key is not None:
                self.accepted_by_key[key] = self.accepted_by_key.get(key, 0) + 1
            people = mail["to"] if isinstance(mail["to"], list) else [mail["to"]]
            for person in people:
                self.accepted_by_recipient[person] = self.accepted_by_recipient.get(person, 0) + 1
            if not self.files:
                return mail_id
            stem.with_suffix(".json").write_text(json.dumps(
                {"id": mail_id, "created_at": created, "idempotency_key": key, **mail},
                indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            for part, suffix in (("html", ".html"), ("text", ".txt")):
                if mail.get(part):
                    stem.with_suffix(suffix).write_text(mail[part], encoding="utf-8")
        return mail_id

    def show(self, mail_id: str) -> Answer:
        mail = self.mails.get(mail_id)
        if not mail:
            raise Refusal(404, "not_found", "Email not found")
        to = mail["to"] if isinstance(mail["to"], list) else [mail["to"]]
        return json_answer(200, {
            "object": "email", "id": mail_id, "to": to, "from": mail.get("from"),
            "created_at": mail["created_at"], "subject": mail.get("subject"),
            "html": mail.get("html"), "text": mail.get("text"), "bcc": mail.get("bcc") or [],
            "cc": mail.get("cc") or [], "reply_to": mail.get("reply_to") or [],
            "last_event": "delivered", "scheduled_at": mail.get("scheduled_at")})

    def report(self) -> dict:
        return {"accepted": len(self.mails), "accepted_by_key": dict(self.accepted_by_key),
                "accepted_by_recipient": dict(self.accepted_by_recipient)}


def main() -> None:
    parser = arguments("A stand-in for Resend's API.")
    parser.add_argument("--rate", type=int, default=0, metavar="N",
                        help="requests a second; 0 = no limit (the real default is 2 to 5)")
    parser.add_argument("--no-files", action="store_true", help="write no files of e-mails")
    options = parser.parse_args()
    run(Resend(options.port, options.state, options.rate, not options.no_files, options.tls))


if __name__ == "__main__":
    main()
