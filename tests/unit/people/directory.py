"""A real directory for NSS, Hesiod (part of glibc): a name server on the loopback of a network of its own.

Run inside bubblewrap by ``test_people_nss.py``. Commands come by standard input, one a line; each is
answered by one line of JSON.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from courseyard.cli.check import problems_of
from courseyard.errors import CourseyardError
from courseyard.people.cache import People
from courseyard.people.nss import NssSource, silent
from courseyard.settings import PeopleSettings

#: Of Hesiod; read at each look-up.
SETTINGS = Path(os.environ["HESIOD_CONFIG"])
RECORDS = {
    "maija.passwd.ns.x": "maija:*:21001:20000:Maija M:/:/bin/sh",
    "otso.passwd.ns.x": "otso:*:21002:20000:Otso O:/:/bin/sh",
}


class Directory:
    """Answers TXT of the class HS until it is stopped; then the port is closed."""

    def __init__(self) -> None:
        self.records = dict(RECORDS)
        self.thread: threading.Thread | None = None

    def start(self) -> None:
        own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        own.bind(("127.0.0.1", 53))
        own.settimeout(0.05)
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._serve, args=(own,), daemon=True)
        self.thread.start()

    def stop(self) -> None:
        if self.thread is not None:
            self.ended.set()
            self.thread.join()
            self.thread = None

    def _serve(self, own: socket.socket) -> None:
        with own:
            while not self.ended.is_set():
                with suppress(TimeoutError):
                    asked, address = own.recvfrom(512)
                    own.sendto(self._answer(asked), address)

    def _answer(self, asked: bytes) -> bytes:
        labels, place = [], 12
        while size := asked[place]:
            labels.append(asked[place + 1 : place + 1 + size].decode())
            place += 1 + size
        question = asked[12 : place + 5]
        text = self.records.get(".".join(labels).lower())
        flags = b"\x85\x80" if text else b"\x85\x83"  # found, or no such name
        count = b"\0\1" if text else b"\0\0"
        reply = asked[:2] + flags + b"\0\1" + count + b"\0\0\0\0" + question
        if text:
            data = bytes([len(text)]) + text.encode()
            reply += b"\xc0\x0c" + question[-4:] + b"\0\0\0\0" + len(data).to_bytes(2, "big") + data
        return reply


def told(look_up: Any, name: str) -> Any:
    try:
        person = look_up(name)
    except CourseyardError as error:
        return {"error": error.reason, "detail": error.detail}
    return person and person.uid


def main() -> None:
    directory, now = Directory(), [1000.0]
    source = NssSource()
    people = People(source, PeopleSettings(timeout=10), clock=lambda: now[0])
    for line in sys.stdin:
        command, _, word = line.strip().partition(" ")
        answer: Any = None
        if command == "up":
            directory.start()
            SETTINGS.write_text("lhs=.ns\nrhs=.x\n")
        elif command == "mute":  # it says that nobody is there
            directory.stop()
        elif command == "away":  # and here that it cannot say
            SETTINGS.unlink()
        elif command == "remove":
            directory.records = {n: r for n, r in RECORDS.items() if not n.startswith(word)}
        elif command == "restart":
            source = NssSource(word.split())
            people = People(source, PeopleSettings(timeout=10), clock=lambda: now[0])
        elif command == "wait":
            now[0] += float(word)
        elif command == "get":
            answer = told(people.get_now, word)
        elif command == "look":
            answer = told(source.look_up, word)
        elif command == "silent":
            answer = silent()
        elif command == "check":
            site = SETTINGS.with_name("courseyard.yaml")
            site.write_text("hub: {authenticator: pam}\npeople: {source: nss}\n")
            answer = [str(problem) for problem in problems_of(site.parent)]
        print(json.dumps(answer), flush=True)


main()
