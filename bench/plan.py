"""How long a plan and the course page's offers take.

    python bench/plan.py [--rounds N]

A plan is compared with writing the same plan as JSON (pydantic's own serialiser), the offers with
looking through all courses naively. Medians of several rounds, baseline in the same run. Times are
CPU time of this thread: nothing here waits, so that is what it takes where nothing else runs.
Goals: a plan under 0.2 ms; offers under 1 ms and flat from 10 to 10,000 courses.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from courseyard.access import Action, Target, decide
from courseyard.hub.home.offers import Running, offers
from courseyard.images.catalog import ImageCatalog, Release
from courseyard.people.person import Group, Person
from courseyard.plan.build import Known, plan_server
from courseyard.registry.course import Course
from courseyard.registry.snapshot import Snapshot
from courseyard.registry.watch import Registry
from courseyard.settings import Site

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
CATALOG = ImageCatalog({"DEFAULT": (Release("DEFAULT", date(2026, 9, 1), "py:1", Path("/py")),)})
#: Teaches two courses (one by group), is listed in two.
PERSON = Person("u0001", 21000, 20000, frozenset({Group("jupyter-c0003", 30003)}), "A", "a@b.org")


def median_ms(work: Callable[[], object], rounds: int) -> float:
    """CPU milliseconds of one call: the median over ``rounds`` rounds of many calls each."""
    once = time.thread_time()
    work()
    calls = max(1, min(500, int(0.02 / max(time.thread_time() - once, 1e-7))))
    times = []
    for _ in range(rounds):
        start = time.thread_time()
        for _ in range(calls):
            work()
        times.append((time.thread_time() - start) / calls * 1000)
    return statistics.median(times)


def write_courses(folder: Path, count: int) -> None:
    """Course files of 50 people each; every tenth private, every twentieth archived."""
    for number in range(count):
        people = [f"u{(number * 7 + i) % (count * 5):04d}" for i in range(50)]
        lines = [
            f"name: Course {number}",
            f"gid: {30000 + number}",
            "datadir: true",
            f"private: {'true' if number % 10 == 9 else 'false'}",
            f"archive: {'true' if number % 20 == 19 else 'false'}",
            f"instructors: [{'u0001, ' if number == 1 else ''}{people[0]}]",
            f"students: [{', '.join(people[1:])}]",
        ]
        (folder / f"c{number:04d}.yaml").write_text("\n".join(lines) + "\n")


def snapshot_of(count: int) -> tuple[Site, Snapshot]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "courses").mkdir()
        write_courses(folder / "courses", count)
        site = Site(folder=folder)
        return site, Registry(site, CATALOG).refresh()


def naive(site: Site, courses: dict[str, Course]) -> list[Course]:
    """The list that a loop over all courses gives."""
    seen = [c for c in courses.values() if decide(site, PERSON, c, Action.SEE, NOW)]
    return sorted(seen, key=lambda course: course.name)


def bench_plan(site: Site, snapshot: Snapshot, rounds: int) -> list[tuple[str, float, str, float]]:
    known = Known(snapshot.courses, CATALOG, named=snapshot.of_instructor)
    rows = []
    for text in ("general", "c0001", "c0001-instructor"):
        target = Target.parse(text)
        plan = plan_server(site, known, PERSON, target, NOW)

        def work(target: Target = target) -> Any:
            return plan_server(site, known, PERSON, target, NOW)

        base = median_ms(plan.model_dump_json, rounds)
        rows.append((f"plan of {text}", median_ms(work, rounds), "the same plan as JSON", base))
    return rows


def bench_offers(site: Site, snapshot: Snapshot, rounds: int) -> tuple[str, float, str, float]:
    running = {"c0001": Running(Target.parse("c0001"), NOW)}

    def work() -> Any:
        return offers(site, snapshot, PERSON, running, NOW, recent=["c0003", "c0001"])

    count = len(snapshot.courses)
    base = median_ms(lambda: naive(site, dict(snapshot.courses)), max(3, rounds // 2))
    return (f"offers of {count:,} courses", median_ms(work, rounds), "all, one by one", base)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    rows = []
    for count in (10, 1_000, 10_000):
        site, snapshot = snapshot_of(count)
        gc.collect()
        gc.freeze()  # as a hub does
        if count == 1_000:
            rows += bench_plan(site, snapshot, rounds)
        rows.append(bench_offers(site, snapshot, rounds))
    for name, ours, baseline, base in rows:
        print(f"{name:<28} {ours:8.3f} ms   {baseline:<24} {base:8.3f} ms")
    plans = [ours for name, ours, *_ in rows if name.startswith("plan")]
    pages = [ours for name, ours, *_ in rows if name.startswith("offers")]
    met = max(plans) < 0.2 and max(pages) < 1.0 and pages[-1] < 3 * pages[0]
    print(f"goals (plan < 0.2 ms, offers < 1 ms and flat): {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
