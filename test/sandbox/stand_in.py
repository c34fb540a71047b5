"""What the stand-ins for Resend and Stripe share: an HTTP server that keeps a
journal, remembers idempotency keys, runs on a clock that tests can move, and
misbehaves on demand.

Invariant: a request is in the journal before its answer leaves, so a test that
saw an answer also sees the entry; an Authorization value is never written down.
"""

import argparse
import gzip
import hashlib
import http
import http.server
import json
import pathlib
import select
import signal
import socket
import ssl
import struct
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field

FAULT_KINDS = ("hang", "reset", "empty", "status", "error", "endless", "slow", "truncated",
               "chunk", "gzip", "redirect", "delay")
# These say how an answer is delivered; the request itself is handled as usual.
DELIVERY_FAULTS = ("slow", "truncated", "chunk", "gzip", "delay")
MAX_BODY = 40 * 1024 * 1024


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]  # names in lower case
    body: bytes
    delay: float = 0  # seconds that handling takes, with the idempotency key in use

    @property
    def key(self) -> str | None:
        return self.headers.get("idempotency-key")


@dataclass
class Answer:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    replayed: bool = False


def json_answer(status: int, document: object, **headers: str) -> Answer:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, json.dumps(document).encode(),
                  {"Content-Type": "application/json", **names})


class KeyMemory:
    """Remembers what was answered under an idempotency key, for 24 hours."""

    LIFETIME = 24 * 3600

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[tuple, tuple[str, float, Answer | None]] = {}  # None: in flight

    def run(self, scope: tuple, request: Request, execute: Callable[[], Answer],
            keeps: Callable[[Answer], bool], mismatch: Answer, busy: Answer) -> Answer:
        """Execute once per scope and body; repeat the answer that keeps() wanted kept."""
        digest = hashlib.sha256(request.body).hexdigest()
        with self._lock:
            known = self._kept.get(scope)
            if known and self._clock() - known[1] < self.LIFETIME:
                known_digest, _, answer = known
                if known_digest != digest:
                    return mismatch
                if answer is None:
                    return busy
                return Answer(answer.status, answer.body, answer.headers, replayed=True)
            self._kept[scope] = (digest, self._clock(), None)
        kept = None
        try:
            time.sleep(request.delay)
            answer = execute()
            kept = answer if keeps(answer) else None
            return answer
        finally:
            with self._lock:
                if kept:
                    self._kept[scope] = (digest, self._clock(), kept)
                else:
                    del self._kept[scope]


class StandIn(http.server.ThreadingHTTPServer):
    """A server for one provider; a subclass says what to answer()."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    name = "stand-in"

    def __init__(self, port: int, state: pathlib.Path, tls: list[str] | None = None) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        state.mkdir(parents=True, exist_ok=True)
        self.tls = None
        if tls:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*tls)
        self.connections: set[socket.socket] = set()
        self.away = 0.0  # seconds for which to refuse connections
        self.state = state
        self.lock = threading.Lock()
        self.clock_offset = 0.0
        self.keys = KeyMemory(self.now)
        self.faults: list[dict] = []
        self.request_count = 0

    def now(self) -> float:
        return time.time() + self.clock_offset

    def answer(self, request: Request) -> Answer:
        raise NotImplementedError

    def fault_answer(self, fault: dict) -> Answer:
        """The answer of a fault of kind "status"."""
        raise NotImplementedError

    def report(self) -> dict:
        """What GET /_control tells besides the common counts."""
        return {}

    def control(self, request: Request) -> Answer:
        """GET tells the counts; POST sets faults and the clock."""
        if request.method == "POST":
            try:
                order = json.loads(request.body or b"{}")
                faults = order.get("faults")
                if faults is not None:
                    wrong = [f for f in faults if f.get("kind") not in FAULT_KINDS]
                    if wrong:
                        raise ValueError(f"unknown kind of fault: {wrong[0].get('kind')!r}")
                    with self.lock:
                        self.faults = [{"times": 1, **f} for f in faults]
                if "clock_offset" in order:
                    self.clock_offset = float(order["clock_offset"])
                if "refuse" in order:
                    self.go_away(float(order["refuse"]))
                extra = self.obey(order)
            except (ValueError, AttributeError, TypeError, KeyError) as error:
                return json_answer(400, {"error": str(error)})
            return json_answer(200, {"ok": True, **extra})
        with self.lock:
            counts = {"requests": self.request_count, "faults": list(self.faults),
                      "clock_offset": self.clock_offset, **self.report()}
        return json_answer(200, counts)

    def go_away(self, seconds: float) -> None:
        """Refuse connections for a while, and end those there are but this one."""
        def leave() -> None:
            time.sleep(0.1)  # for the answer to whoever ordered it
            self.shutdown()
        self.away = seconds
        threading.Thread(target=leave, daemon=True).start()

    def serve_until_told(self) -> None:
        """Serve, with times of absence in between."""
        while True:
            self.serve_forever(poll_interval=0.05)
            self.socket.close()
            with self.lock:
                connections = list(self.connections)
            for connection in connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
            time.sleep(self.away)
            self.socket = socket.socket(self.address_family, self.socket_type)
            self.server_bind()
            self.server_activate()

    def handle_error(self, *what: object) -> None:
        if not isinstance(sys.exception() if sys.version_info >= (3, 12) else sys.exc_info()[1],
                          ssl.SSLError):  # a client that does not like our certificate
            super().handle_error(*what)

    def obey(self, order: dict) -> dict:
        """What POST /_control does besides faults and clock; returns what to tell."""
        return {}

    def take_fault(self, request: Request) -> dict | None:
        """The first fault that is not used up and wants this path and this body."""
        with self.lock:
            for fault in self.faults:
                if fault["times"] and request.path.startswith(fault.get("path", "/")) \
                        and fault.get("match", "").encode() in request.body:
                    if fault["times"] > 0:
                        fault["times"] -= 1
                    return fault
        return None

    def record(self, request: Request, answer: Answer | None, fault: dict | None) -> None:
        """Append to the journal, secrets hashed."""
        headers = dict(request.headers)
        if "authorization" in headers:
            digest = hashlib.sha256(headers["authorization"].encode()).hexdigest()
            headers["authorization"] = "sha256:" + digest[:16]
        line = json.dumps({
            "time": self.now(), "method": request.method, "path": request.path,
            "headers": headers, "body": request.body.decode("utf-8", "replace"),
            "idempotency_key": request.key,
            "status": answer.status if answer else None,
            "replayed": bool(answer and answer.replayed),
            "fault": fault["kind"] if fault else None})
        with self.lock:
            self.request_count += 1
            with open(self.state / f"{self.name}.requests.jsonl", "a", encoding="utf-8") as file:
                file.write(line + "\n")


class Handler(http.server.BaseHTTPRequestHandler):
    """Reads requests, and delivers or spoils answers."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: StandIn

    def setup(self) -> None:
        with self.server.lock:
            self.server.connections.add(self.request)
        self.plain = self.request
        if self.server.tls:
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > MAX_BODY:
            self.close_connection = True
            return
        url = urllib.parse.urlsplit(self.path)
        request = Request(self.command, url.path, urllib.parse.parse_qs(url.query),
                          {name.lower(): value for name, value in self.headers.items()},
                          self.rfile.read(length))
        if request.path == "/_control":
            self.send(self.server.control(request))
            return

        fault = self.server.take_fault(request)
        kind = fault["kind"] if fault else None
        if kind == "delay":
            request.delay = float(fault.get("seconds", 1))
        answer = None
        if not fault or kind in DELIVERY_FAULTS or fault.get("after_accept"):
            answer = self.server.answer(request)
        if kind in ("status", "error"):
            answer = self.server.fault_answer(fault)
            if "retry_after" in fault:
                answer.headers["Retry-After"] = str(fault["retry_after"])
        if kind == "redirect":
            answer = Answer(302, b"", {"Location": self.path})
        silent = kind in ("hang", "reset", "empty")
        self.server.record(request, None if silent else answer, fault)
        self.deliver(answer, fault)

    do_GET = do_POST = do_DELETE = do_PUT = do_PATCH = serve

    def deliver(self, answer: Answer | None, fault: dict | None) -> None:
        kind = fault["kind"] if fault else None
        self.close_connection = kind not in (None, "status", "error", "slow", "delay", "redirect")
        if kind == "hang":
            self.wait_until_client_leaves()
        elif kind == "reset":
            # Lingering for 0 s turns close() into a reset.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                       struct.pack("ii", 1, 0))
            self.connection.close()
        elif kind == "empty":
            pass
        elif kind == "endless":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
            while True:
                self.wfile.write(b" " * 8192)
        elif kind == "truncated":
            text = self.encode(answer)
            self.wfile.write(text[:-max(1, len(answer.body) // 2)])
        elif kind == "chunk":  # the answer in chunks, of which the last one breaks off
            half = answer.body[:len(answer.body) // 2]
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                             b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s" % (len(answer.body), half))
        elif kind == "gzip":  # nobody asked for it, and it unpacks to 64 MiB
            blanks = gzip.compress(b" " * (1 << 20))
            self.send(Answer(200, gzip.compress(answer.body) + 64 * blanks,
                             {**answer.headers, "Content-Encoding": "gzip"}))
        elif kind == "slow":
            for byte in self.encode(answer):
                self.wfile.write(bytes([byte]))
                time.sleep(float(fault.get("seconds", 0.1)))
        else:
            self.send(answer)

    def encode(self, answer: Answer) -> bytes:
        try:
            reason = http.HTTPStatus(answer.status).phrase
        except ValueError:
            reason = "Unknown"
        headers = {**answer.headers, "Content-Length": str(len(answer.body)),
                   "Date": self.date_time_string()}
        lines = [f"HTTP/1.1 {answer.status} {reason}",
                 *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        return "\r\n".join(lines).encode("latin-1") + answer.body

    def send(self, answer: Answer) -> None:
        self.wfile.write(self.encode(answer))  # one write: no pause between head and body

    def wait_until_client_leaves(self) -> None:
        while True:
            readable, _, _ = select.select([self.connection], [], [], 60)
            if readable and not self.connection.recv(4096):
                return

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            pass  # the client left, or was sent away

    def finish(self) -> None:
        with self.server.lock:
            self.server.connections.discard(self.plain)
        try:
            super().finish()
        except OSError:
            pass

    def log_message(self, *_: object) -> None:
        pass  # the journal says more


def arguments(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, default=0, help="0 = any free port")
    parser.add_argument("--state", type=pathlib.Path, required=True, metavar="DIR",
                        help="where the port, the journal and what was accepted are written")
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"),
                        help="speak TLS with this certificate (PEM)")
    return parser


def run(server: StandIn) -> None:
    """Announce the port and serve until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    port = server.server_address[1]
    draft = server.state / f"{server.name}.port.new"
    draft.write_text(f"{port}\n")
    draft.rename(server.state / f"{server.name}.port")
    where = f"https://localhost:{port}" if server.tls else f"http://127.0.0.1:{port}"
    print(f"listening {where}", flush=True)
    try:
        server.serve_until_told()
    except KeyboardInterrupt:
        pass
