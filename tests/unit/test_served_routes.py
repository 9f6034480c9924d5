"""Routes for proxies elsewhere: told at once, never fewer than there are, to nobody else."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from courseyard.hub import served, statefile
from courseyard.hub.keys import Keys
from courseyard.settings import Site

TOKEN = "t0ken"


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    number = free_port()
    monkeypatch.setattr(served, "PORT", number)
    monkeypatch.setenv(served.TOKEN, TOKEN)
    monkeypatch.setattr(served, "_HOLD", 1.0)
    yield number


async def make(tmp_path: Path) -> served.ServedRoutesProxy:
    site = Site(folder=tmp_path, backend="kubernetes")
    proxy = served.ServedRoutesProxy(
        site=site, keys=Keys("key", tmp_path / "keys.json"), dynamic_config_file=str(tmp_path / "hub.json"), should_start=False,
        traefik_api_password="x", traefik_api_username="x", public_url="http://127.0.0.1:1",
    )  # fmt: skip
    await proxy._start_future
    return proxy


def test_no_hub_without_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends at its start: it was ready, and its proxies waited for routes."""
    monkeypatch.setenv(served.TOKEN, "")
    with pytest.raises(RuntimeError, match="is not set"):
        served.ServedRoutesProxy(site=Site(folder=tmp_path), should_start=False)


def ask(port: int, token: str = TOKEN) -> tuple[int, Any]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/routes", headers={"Authorization": f"Bearer {token}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, None


def routers(answer: tuple[int, Any]) -> list[str]:
    rules = [router["rule"] for router in answer[1]["http"]["routers"].values()]
    return sorted(rule for rule in rules if "/user/" in rule)


async def test_told_at_once_and_to_none_but_proxies(tmp_path: Path, port: int) -> None:
    proxy = await make(tmp_path)
    assert (await asyncio.to_thread(ask, port, "wrong"))[0] == 403
    # Until the hub has found all its servers again a proxy must keep what it has.
    assert (await asyncio.to_thread(ask, port))[0] == 503
    await proxy.add_route("/user/ada/algo/", "http://198.51.100.1:8888", {})
    proxy.complete = True
    first = await asyncio.to_thread(ask, port)
    assert len(routers(first)) == 1
    assert "PathPrefix(`/user/ada/algo/`)" in routers(first)[0]
    assert "jupyterhub" not in first[1]
    assert "courseyard-login" in first[1]["http"]["routers"]
    began = time.monotonic()
    waiting = asyncio.create_task(asyncio.to_thread(ask, port))
    await asyncio.sleep(0.2)
    await proxy.add_route("/user/omar/stats/", "http://198.51.100.2:8888", {})
    assert len(routers(await waiting)) == 2
    assert time.monotonic() - began < 1.0, "an answer does not wait when there is news"


async def test_a_route_is_there_when_every_proxy_was_told(tmp_path: Path, port: int) -> None:
    proxy = await make(tmp_path)
    proxy.complete = True
    await proxy.answer("198.51.100.8", True)
    await proxy.heard("198.51.100.8", proxy.version)
    adding = asyncio.create_task(proxy.add_route("/user/ada/algo/", "http://198.51.100.1:1", {}))
    await asyncio.sleep(0.3)
    assert not adding.done()
    await proxy.heard("198.51.100.8", proxy.version)
    await asyncio.wait_for(adding, 2)


async def test_changes_shortly_after_one_another_are_told_together(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy takes over all routes for each answer, so an answer for each of many is too much."""
    monkeypatch.setattr(served, "_TOGETHER", 0.5)
    proxy = await make(tmp_path)
    proxy.complete = True
    told = []

    async def asking() -> None:
        while True:
            version, text = await proxy.answer("198.51.100.8", True)
            told.append(len(routers((200, json.loads(text)))))
            await proxy.heard("198.51.100.8", version)

    proxy_asks = asyncio.create_task(asking())
    await asyncio.sleep(0.1)
    adding = []
    for number in range(10):  # the proxy class works at so many at a time
        route = proxy.add_route(f"/user/u{number}/x/", "http://198.51.100.1:8888", {})
        adding.append(asyncio.create_task(route))
        await asyncio.sleep(0.02)
    await asyncio.wait_for(asyncio.gather(*adding), 5)
    proxy_asks.cancel()
    assert told[0] == 0
    assert told[-1] == 10
    assert len(told) <= 3


async def test_a_proxy_of_a_version_before_goes_on_without_the_plugin(
    tmp_path: Path, port: int
) -> None:
    """Traefik drops a route whose plugin it does not have."""
    proxy = await make(tmp_path)
    proxy.complete = True
    await proxy.add_route("/user/ada/algo/", "http://198.51.100.1:1", {"user": "ada"})
    _, text = await proxy.answer("198.51.100.8", False)
    assert "plugin" not in text.decode()
    assert "cookies" not in text.decode()
    _, text = await proxy.answer("198.51.100.8", True)
    found = json.loads(text)["http"]["middlewares"]
    assert found["courseyard-server-cookies"] == {"plugin": {"cookies": {"users": "/user/"}}}


async def test_a_proxy_that_went_away_holds_up_nobody(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "_FORGET", 0.3)
    proxy = await make(tmp_path)
    proxy.complete = True
    await proxy.answer("198.51.100.8", True)
    await asyncio.sleep(0.4)
    await asyncio.wait_for(proxy.add_route("/user/ada/algo/", "http://198.51.100.1:1", {}), 2)


async def test_routes_outlive_the_hub(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = await make(tmp_path)
    await proxy.add_route("/user/ada/algo/", "http://198.51.100.1:8888", {})
    proxy.dynamic_config_handler.write()
    monkeypatch.setattr(served, "PORT", free_port())
    again = await make(tmp_path)
    assert "PathPrefix(`/user/ada/algo/`)" in json.dumps(again.configuration(True))


async def test_a_damaged_copy_of_the_routes_is_none(tmp_path: Path, port: int) -> None:
    (tmp_path / "hub.json").write_text('{"http": ')
    proxy = await make(tmp_path)
    assert routers((200, proxy.configuration(True))) == []


async def test_routes_are_written_once_for_many_changes(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statefile, "_DELAY", 0.3)
    proxy = await make(tmp_path)
    written, write = [], statefile.StateFile.write
    counted = lambda file: (written.append(file), write(file))  # noqa: E731
    monkeypatch.setattr(statefile.StateFile, "write", counted)
    for number in range(5):
        await proxy.add_route(f"/user/u{number}/x/", "http://198.51.100.1:8888", {})
    await asyncio.sleep(0.5)
    assert len(written) == 1
    assert len(json.loads((tmp_path / "hub.json").read_text())["jupyterhub"]["routes"]) == 5


async def test_no_token_no_service(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(served.TOKEN)
    with pytest.raises(RuntimeError, match=served.TOKEN):
        await make(tmp_path)
