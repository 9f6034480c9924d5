"""A PostgreSQL of Debian's, in the network of the cluster's first node: one that is not in the cluster."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

#: Before a command: run in the network of the first node.
INSIDE = ("nsenter", "--net=/run/netns/cyard0", "--")
#: All of a server's own programs; only some of them are in the path.
_PROGRAMS = "/usr/lib/postgresql"


def programs() -> Path | None:
    """The folder of the newest PostgreSQL of this machine; None without one."""
    found = sorted(Path(_PROGRAMS).glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


class Postgres:
    """A running server with an empty database ``courseyard`` and its role; SCRAM passwords alone."""

    def __init__(self, programs: Path, folder: Path, address: str, password: str) -> None:
        self.programs = programs
        self.folder = folder
        self.address = address
        self.password = password
        self._admin = secrets.token_hex(16)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = ["-D", str(self.folder / "data"), "-U", "postgres", "-A", "scram-sha-256"]
        password = self.folder / "password"
        password.write_text(self._admin)
        account = pwd.getpwnam("nobody")  # PostgreSQL refuses to run as root
        for path in (self.folder, password):
            os.chown(path, account.pw_uid, account.pw_gid)
        self._as_nobody("initdb", *words, "--pwfile", str(password))
        access = self.folder / "data" / "pg_hba.conf"
        access.write_text(access.read_text() + "host courseyard courseyard all scram-sha-256\n")
        where = ["-c", f"listen_addresses={self.address}", "-k", str(self.folder)]
        self._process = subprocess.Popen(
            [*self._words("postgres"), "-D", str(self.folder / "data"), *where],
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "log").open("wb"),
        )
        self._ready()
        self._sql(f"CREATE ROLE courseyard LOGIN PASSWORD '{self.password}'")
        self._sql("CREATE DATABASE courseyard OWNER courseyard")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)

    def asked(self, query: str) -> str:
        """What a query in the hub's database gives."""
        return self._sql(query, "courseyard").strip()

    def _ready(self) -> None:
        until = time.monotonic() + 30
        while True:
            try:
                self._sql("SELECT 1")
            except subprocess.CalledProcessError:
                if time.monotonic() > until:
                    raise AssertionError((self.folder / "log").read_text()) from None
                time.sleep(0.2)
            else:
                return

    def _sql(self, query: str, database: str = "postgres") -> str:
        words = ["-h", str(self.folder), "-U", "postgres", "-d", database, "-tAc", query]
        return self._as_nobody("psql", *words, PGPASSWORD=self._admin)

    def _words(self, program: str) -> list[str]:
        account = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        return [*INSIDE, *account, str(self.programs / program)]

    def _as_nobody(self, program: str, *words: str, **more: str) -> str:
        return _run([*self._words(program), *words], more)


def _run(words: Sequence[str], more: dict[str, str]) -> str:
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", **more}
    done = subprocess.run(words, env=environment, check=True, capture_output=True, text=True)
    return done.stdout


@contextmanager
def running(address: str, password: str = "") -> Iterator[Postgres]:
    """A new server on port 5432 of ``address``, gone afterwards with all that it held.

    Args:
        address: of the first node.
        password: of the role ``courseyard``; a new one without.
    """
    found = programs()
    assert found is not None
    folder = Path(tempfile.mkdtemp(prefix="cy-postgres-", dir="/tmp"))
    server = Postgres(found, folder, address, password or secrets.token_hex(16))
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
