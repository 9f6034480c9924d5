"""Pages before starts: what gives way waits for the rest, keeps its order, and gets on."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Iterator

import pytest
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

from courseyard.hub import turns
from courseyard.hub.turns import GivesWay, Turns, give_way


@pytest.fixture
async def line() -> Iterator[Turns]:
    loop = asyncio.get_running_loop()
    installed = Turns.install(loop)
    yield installed
    del loop.call_soon  # type: ignore[attr-defined]  # the class's own again


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others go first however long it takes; the line moves by one step."""
    monkeypatch.setattr(turns, "_PATIENCE", 1e9)
    monkeypatch.setattr(turns, "_SLICE", 0)


async def start(done: list[str], name: str, steps: int) -> None:
    give_way()
    for _ in range(steps):
        await asyncio.sleep(0)
        done.append(name)


async def page(steps: int) -> None:
    for _ in range(steps):
        await asyncio.sleep(0)


async def crowd(done: list[str], steps: int = 20) -> list[asyncio.Task[None]]:
    starts = [asyncio.create_task(start(done, str(number), steps)) for number in range(50)]
    await asyncio.sleep(0)  # each has given way
    return starts


async def test_without_turns_a_page_waits_behind_each_start() -> None:
    """What the others are compared with."""
    done: list[str] = []
    starts = await crowd(done)
    await asyncio.create_task(page(10))
    assert len(done) >= 500
    await asyncio.gather(*starts)


async def test_a_page_goes_before_fifty_starts(line: Turns, endless: None) -> None:
    done: list[str] = []
    starts = await crowd(done)
    await asyncio.create_task(page(10))
    assert len(done) <= 3, "at most a step where nothing else was ready"
    await asyncio.gather(*starts)
    assert len(done) == 1000


async def test_starts_get_on_though_pages_never_end(
    line: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_PATIENCE", 0.001)
    done: list[str] = []
    pages = asyncio.create_task(page(1_000_000_000))
    try:
        async with asyncio.timeout(20):
            await asyncio.gather(*await crowd(done))
    finally:
        pages.cancel()
    assert len(done) == 1000


async def test_a_flood_of_pages_leaves_starts_their_share(
    line: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a clock that goes on by a millisecond at each step, of pages and of starts."""
    clock = [0.0]
    monkeypatch.setattr(turns.time, "monotonic", lambda: clock[0])
    steps = {"page": 0, "start": 0}

    async def work(kind: str) -> None:
        if kind == "start":
            give_way()
        while sum(steps.values()) < 20_000:
            await asyncio.sleep(0)
            steps[kind] += 1
            clock[0] += 0.001

    await asyncio.gather(*(work("page") for _ in range(100)), *(work("start") for _ in range(50)))
    assert 0.15 < steps["start"] / 20_000 < 0.3


def test_a_step_that_ends_the_loop_holds_up_nothing() -> None:
    """The loop runs on after it, to clean up."""
    loop = asyncio.new_event_loop()
    Turns.install(loop)
    done: list[str] = []

    async def ends() -> None:
        give_way()
        await asyncio.sleep(0)
        raise SystemExit(3)

    task = loop.create_task(ends())
    others = loop.create_task(start(done, "other", 5))
    with pytest.raises(SystemExit):
        loop.run_until_complete(others)
    loop.run_until_complete(others)
    assert done == ["other"] * 5
    assert isinstance(task.exception(), SystemExit)
    loop.close()


async def test_order_is_kept(line: Turns) -> None:
    done: list[str] = []
    await asyncio.gather(*await crowd(done, steps=3))
    assert done == [str(number) for number in range(50)] * 3


async def test_what_a_start_begins_gives_way_too(line: Turns, endless: None) -> None:
    done: list[str] = []

    async def begin() -> None:
        give_way()
        await asyncio.gather(*(asyncio.create_task(step(number)) for number in range(50)))

    async def step(number: int) -> None:
        done.append(str(number))

    begun = asyncio.create_task(begin())
    await asyncio.create_task(page(20))
    assert len(done) <= 20
    await begun
    assert len(done) == 50


async def test_a_broken_step_is_told_and_the_line_goes_on(line: Turns) -> None:
    loop, told, done = asyncio.get_running_loop(), [], []
    loop.set_exception_handler(lambda _, about: told.append(about["exception"]))
    second = contextvars.copy_context()
    second.run(give_way)

    def broken() -> None:
        raise ValueError("broken")

    loop.call_soon(broken, context=second)
    cancelled = loop.call_soon(done.append, "cancelled", context=second)
    cancelled.cancel()
    loop.call_soon(done.append, "next", context=second)
    await asyncio.sleep(0.05)
    assert [str(error) for error in told] == ["broken"]
    assert done == ["next"]


async def test_a_request_gives_way_from_its_beginning(line: Turns) -> None:
    """And those after it on the same connection, as a proxy's, do not."""
    seen: list[tuple[str, bool]] = []

    class Page(RequestHandler):
        async def prepare(self) -> None:
            seen.append((self.request.path, turns._second.get()))

        async def get(self) -> None: ...

    class Start(GivesWay, Page): ...

    server = HTTPServer(Application([("/start", Start), ("/page", Page)]))
    server.listen(0, "127.0.0.1")
    port = next(iter(server._sockets.values())).getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for path in ("/start", "/page"):
        writer.write(f"GET {path} HTTP/1.1\r\nHost: hub\r\n\r\n".encode())
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
    writer.close()
    server.stop()
    assert seen == [("/start", True), ("/page", False)]
