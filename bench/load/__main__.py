"""A hub under load in a cluster, beside KubeSpawner with the seed's profile list and pre-spawn hook.

Two loads, each on both hubs in one run:

- ``--simulated``: 2,000 people log in, 1,000 of them start a server on ten simulated nodes (their
  pods are Running at once, so what is left is the hub's own part), while others look at the page;
- ``--real``: 60 real servers on the machine's two nodes.

Usage: ``python -m bench.load [--simulated] [--real] [--people N] [--servers N]``, as root beside
``../shared/cluster``, which is started where it does not run. Both loads without words.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.load import measure, sites
from bench.load.visitors import Place, Times, log_in_all, looking, own_delays, start_all
from tests.cluster import rig

LOOKS = 30.0  # course pages a second: 2,000 people, each about once a minute
QUIET = 60.0  # seconds of looking at pages when everything runs
_ROOM = ("capacity", "allocatable")
_PRETENDER = Path(__file__).parent / "pretender.py"


@dataclass(frozen=True)
class Load:
    """How many people there are, how many start, and how many of those wait at a time."""

    people: int
    servers: int
    at_once: int
    pods: dict[str, Any]


async def run(kube: rig.Kube, place: Place, crowd: sites.Crowd, load: Load) -> None:
    """All steps on one hub, each with a line of what was measured."""
    print(f"\n{place.name}: {load.people} people, {load.servers} servers", flush=True)
    # A node port follows the pods behind it a moment later.
    await measure.until_answers(place, "/hub/login", {})
    begin = time.monotonic()
    cookies = await log_in_all(place, {name: name for name in crowd.people})
    say("log-in", f"{len(cookies)} people in {time.monotonic() - begin:.0f} s")
    idle = await measure.hub(place)
    say("hub, nobody started", f"{idle.memory / 2**20:.0f} MiB")

    before, asked = await measure.hub(place), measure.api_requests(kube)
    begin = time.monotonic()
    async with (
        measure.pod_times(kube, f"{place.namespace}-users") as pods,
        looking(place, cookies, LOOKS / 3) as pages,
        own_delays() as delays,
    ):
        starts, failed = await start_all(place, crowd.people[: load.servers], load.at_once)
    took = time.monotonic() - begin
    after, sent = await measure.hub(place), measure.api_requests(kube) - asked
    say("starts", f"{len(starts)} in {took:.0f} s, {len(failed)} failed {failed[:3]}")
    whole = Times([start.ready - start.asked for start in starts])
    added = Times([s.ready - s.asked - pods[s.username] for s in starts if s.username in pods])
    say("start, click to ready", spread(whole))
    say("start, added by the hub", spread(added))
    say("course page during starts", spread(pages))
    say("this program's own delay", spread(delays))
    loop(before, after)
    say("hub's processor per start", f"{(after.cpu - before.cpu) / max(1, len(starts)):.3f} s")
    say("API requests per start", f"{sent / max(1, len(starts)):.1f}")
    say("hub, all started", f"{after.memory / 2**20:.0f} MiB")

    before = await measure.hub(place)
    async with looking(place, cookies, LOOKS) as pages:
        await asyncio.sleep(QUIET)
    say(f"course page, {LOOKS:.0f}/s", spread(pages))
    loop(before, await measure.hub(place))

    python = "/opt/courseyard/venv/bin/python"
    ended = "import os; os.kill(1, 15)"
    kube.kubectl(
        "exec", "-n", place.namespace, "deploy/hub", "-c", "hub", "--", python, "-c", ended
    )
    back = await measure.until_answers(place, place.page, cookies[crowd.people[0]])
    say("hub restart, to the page", f"{back:.1f} s")


def loop(before: measure.Hub, after: measure.Hub) -> None:
    slow = ", ".join(
        f"{after.slow[bound] - before.slow[bound]:.0f} over {bound * 1000 - 50:.0f} ms"
        for bound in measure.BLOCKS
    )
    say("event loop blocked", f"{slow} of {after.intervals - before.intervals:.0f} looks")


def spread(times: Times) -> str:
    found = f"median {times.at(50) * 1000:.0f} ms, p95 {times.at(95) * 1000:.0f} ms"
    found += f", p99 {times.at(99) * 1000:.0f} ms, of {len(times.seconds)}"
    return found + (f"; {len(times.wrong)} failed: {set(times.wrong)}" if times.wrong else "")


def say(what: str, found: str) -> None:
    print(f"  {what + ':':28}{found}", flush=True)


@contextmanager
def pretender() -> Iterator[None]:
    """The listener that stands for all pretended servers, in node 0's network."""
    words = ["nsenter", "--net=/run/netns/cyard0", "--", sys.executable, str(_PRETENDER)]
    process = subprocess.Popen(words)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def reach_pretended(kube: rig.Kube) -> None:
    """Pods of all nodes reach the addresses that node 0 answers for."""
    assert kube.local is not None
    for node in kube.local.nodes()[1:]:
        words = ["ip", "-n", f"cyard{node}", "route", "replace", "198.19.128.0/17"]
        subprocess.run([*words, "via", kube.node_address("node0")], check=True)


def give_disks(kube: rig.Kube) -> None:
    """The simulated nodes say nothing of their disks, and pods ask for a little of one."""
    disk = {"ephemeral-storage": "1Ti"}
    words = ("--subresource=status", "-p", json.dumps({"status": dict.fromkeys(_ROOM, disk)}))
    for node in kube.find("nodes", selector="type=simulated"):
        kube.kubectl("patch", "node", node["metadata"]["name"], *words)


def both(kube: rig.Kube, load: Load, courses: int, only: str) -> None:
    crowd = sites.Crowd.of(load.people, courses)
    for make in (sites.courseyard, sites.seed):
        if only and make.__name__ != only:
            continue
        with make(kube, crowd, load.pods) as place:
            asyncio.run(run(kube, place, crowd, load))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulated", action="store_true", help="1,000 simulated servers")
    parser.add_argument("--real", action="store_true", help="60 real servers")
    parser.add_argument("--people", type=int, default=2000)
    parser.add_argument("--servers", type=int, default=1000)
    parser.add_argument("--courses", type=int, default=100)
    parser.add_argument("--only", choices=("courseyard", "seed"), default="")
    given = parser.parse_args()
    all_of_it = not given.simulated and not given.real
    os.nice(-10)  # visitors have computers of their own
    with rig.running() as kube:
        if kube.local is None:
            sys.exit("bench.load needs ../shared/cluster: KUBECONFIG names another cluster")
        if given.simulated or all_of_it:
            kube.local.run("up", "--simulated", "10")
            reach_pretended(kube)
            give_disks(kube)
            load = Load(given.people, given.servers, 50, sites.SIMULATED)
            with pretender():
                both(kube, load, given.courses, given.only)
        if given.real or all_of_it:
            both(kube, Load(60, 60, 6, sites.ANYWHERE), 20, given.only)


if __name__ == "__main__":
    main()
