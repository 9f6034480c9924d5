"""Looking all the time while something else happens: at a person's server, and at pods."""

from __future__ import annotations

import itertools
import json
import subprocess
import threading
from collections.abc import Iterable, Sequence
from http.cookiejar import Cookie
from types import TracebackType
from typing import Any

import requests

from tests.cluster.rig import Kube

_PAUSE = 0.05  # seconds between two visits


class Visits:
    """Visits to one page, each by a connection of its own, since an old one may outlive its proxy.

    As a browser does, they follow where they are sent and keep the cookies that they are given.

    Args:
        urls: the same page by several ways, taken in turn.
        cookies: what the person's browser has; it is sent by all ways.
    """

    def __init__(self, urls: Sequence[str], cookies: Iterable[Cookie]) -> None:
        self.answers: list[str] = []
        self.failures: list[str] = []
        self._urls = itertools.cycle(urls)
        self._browser = requests.Session()
        self._browser.trust_env = False
        self._browser.headers["Connection"] = "close"
        for cookie in cookies:
            self._browser.cookies.set(cookie.name, cookie.value, path=cookie.path)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._visit)

    def __enter__(self) -> Visits:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _visit(self) -> None:
        while not self._ended.wait(_PAUSE):
            url = next(self._urls)
            try:
                reply = self._browser.get(url, timeout=20)
            except requests.RequestException as error:
                self.failures.append(f"{url}: {error!r}")
                continue
            if reply.status_code == 200:
                self.answers.append(reply.text)
            else:
                self.failures.append(f"{url}: {reply.status_code} {reply.text[:300]}")


class PodsWatched:
    """Everything that the cluster tells about some pods, in its order."""

    def __init__(self, kube: Kube, namespace: str, selector: str) -> None:
        words = ("get", "pods", "-n", namespace, "-l", selector, "-o", "json")
        self._words = kube.words(*words, "--watch", "--output-watch-events")
        self._text: list[str] = []

    def __enter__(self) -> PodsWatched:
        self._process = subprocess.Popen(self._words, stdout=subprocess.PIPE, text=True)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait(20)
        self._thread.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._text.append(line)

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """What happened (``ADDED``, ``MODIFIED``, ``DELETED``), and the pod then."""
        text, found = "".join(self._text).strip(), []
        while text:
            event, end = json.JSONDecoder().raw_decode(text)
            found.append((event["type"], event["object"]))
            text = text[end:].lstrip()
        return found

    def running(self, container: str) -> list[set[str]]:
        """Names of the pods whose ``container`` runs, after each event."""
        now: set[str] = set()
        found = []
        for kind, pod in self.events():
            states = pod["status"].get("containerStatuses", [])
            runs = any(s["name"] == container and "running" in s["state"] for s in states)
            name = {pod["metadata"]["name"]}
            now = now | name if runs and kind != "DELETED" else now - name
            found.append(now)
        return found
