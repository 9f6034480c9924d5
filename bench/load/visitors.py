"""Many people at once: they log in, look at the course page, and start servers, as browsers do."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

START_SECONDS = 600.0  # how long one start may take before it counts as failed
_ATTEMPTS = 3  # to log in


@dataclass
class Place:
    """A running hub: where its pages are, and what a start looks like there."""

    name: str
    namespace: str  # of the hub; servers have `<namespace>-users`
    base: str
    page: str
    token: str  # of a service that may start servers
    #: Person → server's name, and what is sent with the start.
    wish: Callable[[str], tuple[str, dict[str, object]]]


@dataclass
class Times:
    """Seconds that something took, each time, and what went wrong."""

    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def at(self, percent: float) -> float:
        """A percentile in seconds, by the nearest rank; NaN when nothing was measured."""
        if not self.seconds:
            return float("nan")
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


@dataclass
class Start:
    """One start: when it was asked for, and when the hub called it ready (``time.time``)."""

    username: str
    asked: float
    ready: float


def session() -> aiohttp.ClientSession:
    """One person's browser."""
    return aiohttp.ClientSession(
        cookie_jar=aiohttp.CookieJar(unsafe=True),  # the address is a number
        timeout=aiohttp.ClientTimeout(total=START_SECONDS),
        connector=aiohttp.TCPConnector(limit=4),
    )


async def log_in(place: Place, username: str, password: str) -> dict[str, str]:
    """The cookies of a person who has logged in by the page.

    Raises:
        RuntimeError: the log-in was refused.
    """
    async with session() as browser:
        async with browser.get(f"{place.base}/hub/login") as page:
            hidden = re.search(r'name="_xsrf"[^>]*value="([^"]*)"', await page.text())
        form = {"username": username, "password": password, "_xsrf": hidden[1] if hidden else ""}
        async with browser.post(
            f"{place.base}/hub/login", data=form, allow_redirects=False
        ) as answer:
            if answer.status != 302:
                raise RuntimeError(f"log-in of {username}: {answer.status}")
        return {cookie.key: cookie.value for cookie in browser.cookie_jar}


async def log_in_all(place: Place, passwords: dict[str, str]) -> dict[str, dict[str, str]]:
    """Everybody's cookies."""
    found = {}

    async def one(username: str) -> None:
        for attempt in range(_ATTEMPTS):
            try:
                found[username] = await log_in(place, username, passwords[username])
                return
            except (RuntimeError, aiohttp.ClientError):
                if attempt == _ATTEMPTS - 1:
                    raise

    await at_once(20, [one(name) for name in passwords])
    return found


async def at_once(limit: int, work: Sequence[Coroutine[None, None, None]]) -> None:
    """Do all of ``work``, at most ``limit`` at a time."""
    gate = asyncio.Semaphore(limit)

    async def one(item: Coroutine[None, None, None]) -> None:
        async with gate:
            await item

    await asyncio.gather(*(one(item) for item in work))


@asynccontextmanager
async def own_delays() -> AsyncIterator[Times]:
    """How late this program itself is, which counts as lateness of the hub in all it measures."""
    times = Times()

    async def look() -> None:
        while True:
            due = time.perf_counter() + 0.02
            await asyncio.sleep(0.02)
            times.seconds.append(max(0.0, time.perf_counter() - due))

    looks = asyncio.create_task(look())
    try:
        yield times
    finally:
        looks.cancel()


@asynccontextmanager
async def looking(
    place: Place, cookies: dict[str, dict[str, str]], rate: float
) -> AsyncIterator[Times]:
    """People open the course page, ``rate`` of them a second, whether or not the hub keeps up."""
    times, people, tasks = Times(), list(cookies), set()
    connector = aiohttp.TCPConnector(limit=0)

    async def one(browser: aiohttp.ClientSession, username: str) -> None:
        begin = time.perf_counter()
        try:
            async with browser.get(
                place.base + place.page, cookies=cookies[username], allow_redirects=False
            ) as page:
                await page.read()
                if page.status != 200:
                    times.wrong.append(f"{page.status}")
                    return
        except (aiohttp.ClientError, TimeoutError) as error:
            times.wrong.append(type(error).__name__)
            return
        times.seconds.append(time.perf_counter() - begin)

    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=60),
    ) as browser:

        async def forever() -> None:
            due = time.monotonic()
            while True:
                task = asyncio.create_task(one(browser, random.choice(people)))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                due += random.expovariate(rate)
                await asyncio.sleep(max(0.0, due - time.monotonic()))

        crowd = asyncio.create_task(forever())
        try:
            yield times
        finally:
            crowd.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def start_all(
    place: Place, people: Sequence[str], limit: int
) -> tuple[list[Start], list[str]]:
    """Start a server for each, ``limit`` of them waiting at a time; the starts, and what failed."""
    done: list[Start] = []
    failed: list[str] = []
    connector = aiohttp.TCPConnector(limit=0)
    headers = {"Authorization": f"token {place.token}"}
    async with aiohttp.ClientSession(
        connector=connector,
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=START_SECONDS),
    ) as client:

        async def one(username: str) -> None:
            try:
                done.append(await start(place, client, username))
            except (RuntimeError, aiohttp.ClientError, TimeoutError) as error:
                failed.append(f"{username}: {error}"[:200])

        await at_once(limit, [one(name) for name in people])
    return done, failed


async def start(place: Place, client: aiohttp.ClientSession, username: str) -> Start:
    """Start a server and follow its progress, as the waiting page does, until it is ready.

    Raises:
        RuntimeError: the start was refused, or failed.
    """
    server, options = place.wish(username)
    servers = f"{place.base}/hub/api/users/{username}/servers/{server}"
    asked = time.time()
    async with client.post(servers, json=options) as answer:
        if answer.status not in (201, 202):
            raise RuntimeError(f"{answer.status} {await answer.text()}")
        if answer.status == 201:
            return Start(username, asked, time.time())
    progress = f"{place.base}/hub/api/users/{username}/servers/{server}/progress"
    async with client.get(progress) as stream:
        async for line in stream.content:
            if not line.startswith(b"data:"):
                continue
            event = json.loads(line[5:])
            if event.get("failed"):
                raise RuntimeError(str(event.get("message")))
            if event.get("ready"):
                return Start(username, asked, time.time())
    raise RuntimeError("the progress ended without a word")
