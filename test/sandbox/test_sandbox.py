"""The stand-ins, tested: python3 -m unittest discover -s test/sandbox"""

import gzip
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import stripe_events  # noqa: E402

SECRET = "whsec_test_skene_gate_0123456789abcdef"


class Sandbox:
    """One stand-in in a process of its own."""

    def __init__(self, name: str, *options: str) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.state = pathlib.Path(self.folder.name)
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, "-B", str(HERE / f"{name}.py"), "--state", str(self.state), *options],
            stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        assert line.startswith(("listening http://127.0.0.1:", "listening https://localhost:")), line
        self.port = int(line.rsplit(":", 1)[1])

    def close(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(5)
        self.process.stdout.close()
        self.folder.cleanup()
        return code

    def ask(self, method: str, path: str, body: object = None, *, key: str | None = None,
            token: str | None = "re_test", agent: str | None = "test", timeout: float = 5,
            **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        text = body.encode() if isinstance(body, str) else b"" if body is None \
            else json.dumps(body).encode()
        sent = {n.replace("_", "-"): v for n, v in headers.items()}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        if agent:
            sent["User-Agent"] = agent
        if key is not None:
            sent["Idempotency-Key"] = key
        try:
            connection.request(method, path, text, sent)
            response = connection.getresponse()
            return (response.status, {n.lower(): v for n, v in response.getheaders()},
                    response.read())
        finally:
            connection.close()

    def control(self, **order: object) -> dict:
        return json.loads(self.ask("POST" if order else "GET", "/_control", order or None)[2])

    def journal(self) -> list[dict]:
        text = (self.state / f"{self.name}.requests.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]


class Signatures(unittest.TestCase):
    def test_known_vectors(self) -> None:
        payload = (
            '{"id":"evt_test_1","object":"event","api_version":"2026-10-28.endive",'
            '"created":1767225600,"type":"customer.subscription.updated","livemode":false,'
            '"data":{"object":{"id":"sub_1","object":"subscription","status":"active"}}}')
        for text, secret, mac in (
                (payload, SECRET,
                 "a08a9c759393c9d97f00731fbdc83f450d15007e3a9a430ebb03a8ef0a6ae8c3"),
                (payload, "whsec_old_secret",
                 "48237aab5ca1658323eaf271befd1586bf274ad8c80fceab88d0fd734767d66a"),
                ('{"name":"Zoë ☃"}', SECRET,
                 "e2d121f49deb3a0968c8faec2348d1c254561172d0e592adb3a665b8fc9c24b4")):
            self.assertEqual(stripe_events.sign(text, secret, 1767225600),
                             f"t=1767225600,v1={mac}")

    def test_the_command_line_signs_what_it_prints(self) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".secret") as file:
            file.write(SECRET + "\n")
            file.flush()
            done = subprocess.run(
                [sys.executable, "-B", str(HERE / "stripe_events.py"), "subscription.updated",
                 "--user", "u1", "--price", "price_9", "--status", "past_due",
                 "--previous-status", "active", "--created", "1767225600", "--id", "evt_7",
                 "--secret-file", file.name], capture_output=True, text=True, check=True)
        printed = json.loads(done.stdout)
        stamp = int(printed["signature"].split(",")[0].removeprefix("t="))
        self.assertEqual(printed["signature"],
                         stripe_events.sign(printed["payload"], SECRET, stamp))
        event = json.loads(printed["payload"])
        self.assertEqual((event["id"], event["type"], event["created"]),
                         ("evt_7", "customer.subscription.updated", 1767225600))
        self.assertEqual(event["data"]["previous_attributes"], {"status": "active"})
        body = event["data"]["object"]
        self.assertEqual(body["metadata"], {"skene_user_id": "u1"})
        self.assertNotIn("current_period_end", body)
        self.assertEqual(body["items"]["data"][0]["current_period_end"],
                         1767225600 + stripe_events.MONTH)


class ResendStandIn(unittest.TestCase):
    MAIL = {"from": "Acme <hi@acme.example>", "to": "u@x.example", "subject": "Hëllo",
            "html": "<p>hi</p>", "text": "hi"}

    def setUp(self) -> None:
        self.box = Sandbox("resend")
        self.addCleanup(self.box.close)

    def send(self, mail: object = None, **options) -> tuple[int, dict]:
        status, _, body = self.box.ask("POST", "/emails", mail or self.MAIL, **options)
        return status, json.loads(body)

    def test_an_accepted_mail_can_be_read(self) -> None:
        status, answer = self.send(key="k1")
        self.assertEqual(status, 200)
        mail = json.loads((self.box.state / "mail/001.json").read_text(encoding="utf-8"))
        self.assertEqual((mail["id"], mail["subject"], mail["idempotency_key"]),
                         (answer["id"], "Hëllo", "k1"))
        self.assertEqual((self.box.state / "mail/001.html").read_text(), "<p>hi</p>")
        self.assertEqual((self.box.state / "mail/001.txt").read_text(), "hi")
        shown = json.loads(self.box.ask("GET", f"/emails/{answer['id']}")[2])
        self.assertEqual((shown["to"], shown["last_event"]), (["u@x.example"], "delivered"))
        self.assertEqual((self.box.state / "resend.port").read_text(), f"{self.box.port}\n")

    def test_the_journal_keeps_everything_but_the_key(self) -> None:
        self.send(token="re_very_secret", key="k1")
        text = (self.box.state / "resend.requests.jsonl").read_text()
        self.assertNotIn("re_very_secret", text)
        entry = self.box.journal()[0]
        self.assertEqual((entry["method"], entry["path"], entry["status"], entry["replayed"],
                          entry["idempotency_key"]), ("POST", "/emails", 200, False, "k1"))
        self.assertEqual(json.loads(entry["body"]), self.MAIL)
        self.assertTrue(entry["headers"]["authorization"].startswith("sha256:"))

    def test_refusals(self) -> None:
        def but(**changes: object) -> dict:
            return {k: v for k, v in {**self.MAIL, **changes}.items() if v is not None}

        for mail, status, name in (
                (but(to=None), 422, "missing_required_field"),
                (but(subject=None), 422, "missing_required_field"),
                (but(html=None, text=None), 422, "missing_required_field"),
                (but(to="nobody"), 422, "validation_error"),
                (but(to=["u@x.example"] * 51), 422, "validation_error"),
                (but(**{"from": "Acme"}), 422, "invalid_from_address"),
                (but(tags=[{"name": "to", "value": "u@x"}]), 422, "validation_error"),
                (but(headers={"X": "a\r\nb"}), 422, "validation_error"),
                (but(template={"id": "t"}), 422, "validation_error"),
                (but(html=None, text=None, template={}), 422, "missing_required_field"),
                ("{", 400, "validation_error"), ("[]", 422, "validation_error")):
            with self.subTest(mail=mail):
                got, answer = self.send(mail)
                self.assertEqual((got, answer["statusCode"], answer["name"]),
                                 (status, status, name))
        self.assertEqual(self.send(token=None)[1]["name"], "missing_api_key")
        self.assertEqual(self.send(token="sk_1")[1]["name"], "invalid_api_key")
        self.assertEqual(self.send(key="")[1]["name"], "invalid_idempotency_key")
        self.assertEqual(self.send(key="k" * 257)[1]["name"], "invalid_idempotency_key")
        status, _, body = self.box.ask("POST", "/emails", self.MAIL, agent=None)
        self.assertEqual((status, body), (403, b"error code: 1010"))
        self.assertEqual(self.box.ask("GET", "/nowhere")[0], 404)
        self.assertEqual(self.box.control()["accepted"], 0)
        hosted = but(html=None, text=None, template={"id": "t", "variables": {"n": 1}})
        self.assertEqual(self.send(hosted)[0], 200)

    def test_a_key_sends_once_for_a_day(self) -> None:
        first = self.send(key="k1")
        self.assertEqual(self.send(key="k1"), first)
        self.assertEqual([e["replayed"] for e in self.box.journal()], [False, True])
        status, answer = self.send({**self.MAIL, "subject": "other"}, key="k1")
        self.assertEqual((status, answer["name"]), (409, "invalid_idempotent_request"))
        self.assertEqual(self.box.control()["accepted_by_key"], {"k1": 1})
        self.box.control(clock_offset=24 * 3600 + 1)
        self.assertNotEqual(self.send(key="k1"), first)
        self.assertEqual(self.box.control()["accepted_by_key"], {"k1": 2})

    def test_a_refusal_does_not_use_up_the_key(self) -> None:
        self.assertEqual(self.send({**self.MAIL, "to": "nobody"}, key="k1")[0], 422)
        self.assertEqual(self.send(key="k1")[0], 200)

    def test_a_key_in_flight_is_refused(self) -> None:
        self.box.control(faults=[{"kind": "delay", "seconds": 1}])
        first: list = []
        thread = threading.Thread(target=lambda: first.append(self.send(key="k1")))
        thread.start()
        until = time.monotonic() + 5
        while not self.box.control()["faults"][0]["times"] == 0 and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.1)
        status, answer = self.send(key="k1")
        self.assertEqual((status, answer["name"]), (409, "concurrent_idempotent_requests"))
        thread.join()
        self.assertEqual(first[0][0], 200)
        self.assertEqual(self.box.control()["accepted"], 1)

    def test_a_batch(self) -> None:
        mails = [self.MAIL, {**self.MAIL, "to": "nobody"}]
        self.assertEqual(self.box.ask("POST", "/emails/batch", mails)[0], 422)
        self.assertEqual(self.box.control()["accepted"], 0)
        status, _, body = self.box.ask("POST", "/emails/batch", mails,
                                       X_Batch_Validation="permissive")
        answer = json.loads(body)
        self.assertEqual((status, len(answer["data"]), answer["errors"][0]["index"]), (200, 1, 1))
        self.assertEqual(self.box.ask("POST", "/emails/batch", [self.MAIL] * 101)[0], 422)

    def test_faults(self) -> None:
        broken = (http.client.HTTPException, OSError)
        for after_accept in (False, True):
            for kind in ("reset", "empty", "hang"):
                with self.subTest(kind=kind, after_accept=after_accept):
                    before = self.box.control()["accepted"]
                    self.box.control(faults=[{"kind": kind, "after_accept": after_accept}])
                    with self.assertRaises(broken):
                        self.send(timeout=0.3)
                    self.assertEqual(self.box.control()["accepted"], before + after_accept)
                    self.assertIsNone(self.box.journal()[-1]["status"])
        self.box.control(faults=[{"kind": "truncated"}])
        with self.assertRaises(http.client.IncompleteRead):
            self.send()
        self.box.control(faults=[{"kind": "slow", "seconds": 0.001}])
        self.assertEqual(self.send()[0], 200)
        self.box.control(faults=[{"kind": "endless"}])
        connection = http.client.HTTPConnection("127.0.0.1", self.box.port)
        connection.request("POST", "/emails", "{}")
        self.assertEqual(len(connection.getresponse().read(1 << 20)), 1 << 20)
        connection.close()

        self.box.control(faults=[{"kind": "status", "status": 429, "name": "rate_limit_exceeded",
                                  "message": "slow down", "retry_after": 7, "times": 2},
                                 {"kind": "status", "status": 502, "body": "<html>"}])
        for _ in range(2):
            status, headers, body = self.box.ask("POST", "/emails", self.MAIL)
            self.assertEqual((status, headers["retry-after"]), (429, "7"))
            self.assertEqual(json.loads(body), {
                "statusCode": 429, "name": "rate_limit_exceeded", "message": "slow down"})
        self.assertEqual(self.box.ask("POST", "/emails", self.MAIL)[::2], (502, b"<html>"))
        self.assertEqual(self.send()[0], 200)
        self.assertIn("error", self.box.control(faults=[{"kind": "nonsense"}]))

    def test_a_fault_can_be_aimed_at_a_path_and_last_for_ever(self) -> None:
        self.box.control(faults=[{"kind": "status", "status": 500, "times": -1,
                                  "path": "/emails/batch"}])
        for _ in range(3):
            self.assertEqual(self.box.ask("POST", "/emails/batch", [self.MAIL])[0], 500)
            self.assertEqual(self.send()[0], 200)

    def test_faults_can_be_aimed_at_what_is_in_the_body(self) -> None:
        self.box.control(faults=[{"kind": "error", "name": "daily_quota_exceeded", "match": "unlucky"}])
        self.assertEqual(self.send()[0], 200)
        status, _, body = self.box.ask("POST", "/emails", {**self.MAIL, "subject": "unlucky"})
        self.assertEqual((status, json.loads(body)["name"]), (429, "daily_quota_exceeded"))

    def test_odd_bodies_and_redirects(self) -> None:
        self.box.control(faults=[{"kind": "redirect"}, {"kind": "chunk"}, {"kind": "gzip"}])
        status, headers, _ = self.box.ask("POST", "/emails", self.MAIL)
        self.assertEqual((status, headers["location"]), (302, "/emails"))
        with self.assertRaises(http.client.IncompleteRead):
            self.box.ask("POST", "/emails", self.MAIL)
        _, headers, body = self.box.ask("POST", "/emails", self.MAIL)
        self.assertEqual(headers["content-encoding"], "gzip")
        self.assertLess(len(body), 1 << 20)
        self.assertGreater(len(gzip.decompress(body)), 64 << 20)

    def test_it_can_be_away_for_a_while(self) -> None:
        self.box.control(refuse=0.5)
        deadline = time.monotonic() + 10
        refused = False
        while time.monotonic() < deadline:
            try:
                if self.send()[0] == 200 and refused:
                    return
            except OSError:
                refused = True
            time.sleep(0.02)
        self.fail("it was not away, or did not come back")

    def test_tls(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([HERE / "certificates", folder], check=True)
            trusting = ssl.create_default_context(cafile=f"{folder}/ca.pem")
            for name, reason in (("good", None), ("expired", "expired"),
                                 ("other", "Hostname mismatch"), ("self", "self-signed")):
                box = Sandbox("resend", "--tls", f"{folder}/{name}.pem", f"{folder}/{name}.key")
                self.addCleanup(box.close)
                connection = http.client.HTTPSConnection("localhost", box.port, timeout=5,
                                                         context=trusting)
                if reason:
                    with self.assertRaisesRegex(ssl.SSLCertVerificationError, reason):
                        connection.request("GET", "/_control")
                else:
                    connection.request("GET", "/_control")
                    self.assertEqual(connection.getresponse().status, 200)
                connection.close()

    def test_it_ends_on_sigterm_while_a_client_hangs(self) -> None:
        box = Sandbox("resend")
        box.control(faults=[{"kind": "hang"}])
        connection = http.client.HTTPConnection("127.0.0.1", box.port)
        connection.request("POST", "/emails", "{}")
        self.assertEqual(box.close(), 0)
        connection.close()

    def test_the_rate_limit(self) -> None:
        box = Sandbox("resend", "--rate", "2")
        self.addCleanup(box.close)
        answers = [box.ask("POST", "/emails", self.MAIL) for _ in range(5)]
        limited = [a for a in answers if a[0] == 429]
        self.assertTrue(limited)
        self.assertEqual(limited[0][1]["retry-after"], "1")
        self.assertEqual(json.loads(limited[0][2])["name"], "rate_limit_exceeded")
        self.assertEqual(answers[0][1]["ratelimit-limit"], "2")


class StripeStandIn(unittest.TestCase):
    FORM = ("mode=subscription&client_reference_id=u1&line_items[0][price]=price_9"
            "&line_items[0][quantity]=2&subscription_data[metadata][skene_user_id]=u1"
            "&success_url=https%3A%2F%2Fapp.example%2Fok")

    def setUp(self) -> None:
        with tempfile.NamedTemporaryFile("w", delete=False) as file:
            file.write(SECRET + "\n")
        self.addCleanup(os.unlink, file.name)
        self.box = Sandbox("stripe", "--secret-file", file.name)
        self.addCleanup(self.box.close)

    def ask(self, method: str, path: str, form: str | None = None, **options) -> tuple[int, dict]:
        options = {"token": "sk_test_1", **options}
        status, _, body = self.box.ask(method, path, form, **options)
        return status, json.loads(body)

    def test_from_checkout_to_subscription(self) -> None:
        status, customer = self.ask("POST", "/v1/customers", "email=a%40b.example&metadata[x]=y")
        self.assertEqual((status, customer["metadata"]), (200, {"x": "y"}))
        status, session = self.ask("POST", "/v1/checkout/sessions",
                                   f"{self.FORM}&customer={customer['id']}")
        self.assertEqual((status, session["status"], session["client_reference_id"]),
                         (200, "open", "u1"))
        told = self.box.control(complete_checkout=session["id"])["events"]
        self.assertEqual([e["type"] for e in told],
                         ["customer.subscription.created", "checkout.session.completed"])
        for event in told:
            stamp, _, mac = event["signature"].partition(",v1=")
            expected = hmac.new(SECRET.encode(), f"{stamp[2:]}.{event['payload']}".encode(),
                                hashlib.sha256).hexdigest()
            self.assertEqual(mac, expected)
        completed = json.loads(told[1]["payload"])["data"]["object"]
        status, subscription = self.ask("GET", f"/v1/subscriptions/{completed['subscription']}")
        self.assertEqual((subscription["customer"], subscription["metadata"]),
                         (customer["id"], {"skene_user_id": "u1"}))
        item = subscription["items"]["data"][0]
        self.assertEqual((item["price"]["id"], item["quantity"]), ("price_9", 2))
        status, events = self.ask("GET", "/v1/events?limit=1&type=checkout.session.completed")
        self.assertEqual([e["id"] for e in events["data"]], [told[1]["id"]])
        self.assertIn("error", self.box.control(complete_checkout=session["id"]))

    def test_keys_and_errors(self) -> None:
        first = self.ask("POST", "/v1/customers", "name=a", key="k1")
        _, headers, body = self.box.ask("POST", "/v1/customers", "name=a", key="k1",
                                        token="rk_test_1")
        self.assertEqual((json.loads(body), headers["idempotent-replayed"]), (first[1], "true"))
        status, answer = self.ask("POST", "/v1/customers", "name=b", key="k1")
        self.assertEqual((status, answer["error"]["type"]), (400, "idempotency_error"))
        self.assertEqual(self.ask("GET", "/v1/events", token=None)[0], 401)
        self.assertEqual(self.ask("GET", "/v1/events", token="sk_live_1")[0], 401)
        self.assertEqual(self.ask("GET", "/v1/nothing")[0], 404)
        self.assertEqual(self.ask("GET", "/v1/events?limit=x")[0], 400)
        status, answer = self.ask("POST", "/v1/checkout/sessions", "mode=payment", key="k2")
        self.assertEqual((status, answer["error"]["param"]), (400, "line_items"))
        self.assertEqual(self.ask("POST", "/v1/checkout/sessions", self.FORM, key="k2")[0], 200)
        self.box.control(faults=[{"kind": "status", "status": 429, "code": "lock_timeout"}])
        self.assertEqual(self.ask("GET", "/v1/events")[1]["error"]["code"], "lock_timeout")

    def test_pages_of_events(self) -> None:
        events = [stripe_events.make_event("price.created", {}, event_id=f"evt_{i}", created=i)
                  for i in range(5)]
        self.box.control(events=events)

        def ids(query: str) -> tuple[list[str], bool]:
            page = self.ask("GET", f"/v1/events?{query}")[1]
            return [e["id"] for e in page["data"]], page["has_more"]

        self.assertEqual(ids("limit=2"), (["evt_4", "evt_3"], True))
        self.assertEqual(ids("limit=2&starting_after=evt_3"), (["evt_2", "evt_1"], True))
        self.assertEqual(ids("limit=2&ending_before=evt_1"), (["evt_3", "evt_2"], True))
        self.assertEqual(ids("created[gte]=3"), (["evt_4", "evt_3"], False))
        self.assertEqual(ids("types[]=other"), ([], False))


if __name__ == "__main__":
    unittest.main()
