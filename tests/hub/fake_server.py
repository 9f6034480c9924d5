"""Stands for a single-user server: answers below its prefix and shows what it was given.

Started as a process of its own by ``local_backend``; standard library alone.
"""

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

PREFIX = os.environ["JUPYTERHUB_SERVICE_PREFIX"]
PLAN = json.loads(Path(os.environ["FAKE_PLAN"]).read_text(encoding="utf-8"))
#: What acts on the whole origin, and one header that does not.
ORIGIN = {
    "Service-Worker-Allowed": "/",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Clear-Site-Data": '"cookies", "storage"',
    "Strict-Transport-Security": "max-age=1; includeSubDomains",
    "Alt-Svc": 'h2=":4430"; ma=86400',
    "NEL": '{"report_to": "x", "max_age": 86400}',
    "Report-To": '{"group": "x", "max_age": 86400, "endpoints": [{"url": "https://x.example"}]}',
    "Sec-Session-Registration": '(ES256);path="start"',
    "Secure-Session-Registration": '(ES256);path="start"',
    "X-Own": "1",
}
#: Cookies by name: those of the server's own path, and others.
COOKIES = (
    f"own=1; Path={PREFIX}",
    "all-own=1; path=/user/otso/; HttpOnly",
    "bare=1",
    f"domain=1; Path={PREFIX}; Domain=localhost",
    "origin=1; Path=/",
    "hub=1;Path=/hub/",
    "other=1; Path=/user/maija/",
    "longer=1; Path=/user/otsonen/",
    f"twice=1; Path={PREFIX}; Path=/",
    "escaped=1; Path=/%75ser/maija/",
)
GO_ON = threading.Event()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        way = PLAN["environment"].get("FAKE_WAY", "")
        if way.startswith("flood-") and not self.path.endswith("/plan"):
            flood(self, way.removeprefix("flood-"))
        elif path.startswith(f"{PREFIX}flood/"):
            flood(self, path.rpartition("/")[2])
        elif path == f"{PREFIX}api":
            self.reply("application/json", json.dumps({"version": "2"}))
        elif path == f"{PREFIX}plan":
            self.reply("application/json", json.dumps(PLAN))
        elif path == f"{PREFIX}environ":
            self.reply("application/json", json.dumps(dict(os.environ)))
        elif path == f"{PREFIX}headers":
            self.reply("application/json", json.dumps(dict(self.headers)))
        elif path == f"{PREFIX}origin":
            self.reply("text/plain", "", ORIGIN)
        elif path == f"{PREFIX}cookies":
            upgrade = self.headers.get("Upgrade")
            self.send_response(101 if upgrade else 200)
            if upgrade:
                self.send_header("Upgrade", upgrade)
                self.send_header("Connection", "Upgrade")
            for cookie in COOKIES:
                self.send_header("Set-Cookie", cookie)
            self.end_headers()
            self.wfile.write(b"It runs")
            self.close_connection = True
        elif path == f"{PREFIX}stream":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"first\n")
            GO_ON.wait(20)
            self.wfile.write(b"last\n" if GO_ON.is_set() else b"nobody heard the first\n")
            self.close_connection = True
        elif path == f"{PREFIX}go-on":
            GO_ON.set()
            self.reply("text/plain", "")
        elif path == f"{PREFIX}answer":
            # A person's program answers what it wants.
            asked = parse_qs(self.path.partition("?")[2])
            self.reply(asked["kind"][0], asked["body"][0])
        elif path.startswith(PREFIX):
            self.reply("text/html", f"<title>{PLAN['server_name']}</title><h1>It runs</h1>")
        else:
            self.send_error(404)

    def reply(self, kind: str, text: str, headers: dict[str, str] | None = None) -> None:
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("X-JupyterHub-Version", "6.1.1")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


def flood(handler: Handler, kind: str) -> None:
    """Answer what no server should, until the other end has had enough."""
    out = handler.wfile
    handler.close_connection = True
    block = b"x" * 65536
    begin, again = {
        "garbage": (b"\x00\xff\x16\x03 not HTTP at all", b"\x80" * 4096),
        "headers": (b"HTTP/1.1 200 OK\r\n", b"X-%d: " % time.time_ns() + block + b"\r\n"),
        "header": (b"HTTP/1.1 200 OK\r\nX-Long: ", block),
        "body": (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n", block),
        "chunks": (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"10000\r\n" + block + b"\r\n",
        ),
        "wrong": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"zz\r\n\r\n"),
        "length": (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", block),
        "hints": (
            b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
            b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
        ),
        "slow": (b"HTTP/1.1 200 OK\r\n", b""),
        "elsewhere": (
            b"HTTP/1.1 302 Found\r\nLocation: " + os.environ.get("FAKE_ELSEWHERE", "/").encode(),
            b"",
        ),
    }[kind]
    try:
        out.write(begin)
        if kind == "elsewhere":
            out.write(b"\r\nContent-Length: 0\r\n\r\n")
            return
        while True:
            out.write(again or b"X-%d: y\r\n" % time.time_ns())
            if not again:
                time.sleep(0.1)
    except OSError:
        return


def main() -> None:
    way = PLAN["environment"].get("FAKE_WAY", "")
    if way == "dies":
        print("Traceback: the secret of the stack", flush=True)
        sys.exit(3)
    if way == "memory":
        sys.exit(137)
    if way == "never":
        time.sleep(600)
    if way == "slow":
        time.sleep(3)
    if way == "lingers":
        signal.signal(signal.SIGTERM, lambda *_: (time.sleep(7), os._exit(0)))
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["FAKE_PORT"])), Handler).serve_forever()


main()
