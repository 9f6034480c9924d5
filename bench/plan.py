"""How long a plan and the course page's offers take.

    python bench/plan.py [--rounds N]

A plan is compared with writing the same plan as JSON (pydantic's own serialiser), the offers with
looking through all courses naively. Medians of several rounds, in which all take turns. Times are
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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


class Job:
    """One thing that is measured, with the CPU milliseconds of a call in each round."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.work = work
        self.times: list[float] = []
        once = time.thread_time()
        work()
        self._calls = max(1, min(500, int(0.02 / max(time.thread_time() - once, 1e-7))))

    def round(self) -> None:
        start = time.thread_time()
        for _ in range(self._calls):
            self.work()
        self.times.append((time.thread_time() - start) / self._calls * 1000)

    @property
    def ms(self) -> float:
        return statistics.median(self.times)


@dataclass
class Row:
    """One line of the result: ours, and the baseline beside it."""

    name: str
    ours: Job
    baseline: str
    base: Job


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


def bench_plan(site: Site, snapshot: Snapshot) -> Iterator[Row]:
    known = Known(snapshot.courses, CATALOG, named=snapshot.of_instructor)
    for text in ("general", "c0001", "c0001-instructor"):
        target = Target.parse(text)
        plan = plan_server(site, known, PERSON, target, NOW)

        def work(target: Target = target) -> Any:
            return plan_server(site, known, PERSON, target, NOW)

        yield Row(f"plan of {text}", Job(work), "the same plan as JSON", Job(plan.model_dump_json))


def bench_offers(site: Site, snapshot: Snapshot) -> Row:
    running = {"c0001": Running(Target.parse("c0001"), NOW)}

    def work() -> Any:
        return offers(site, snapshot, PERSON, running, NOW, recent=["c0003", "c0001"])

    base = Job(lambda: naive(site, dict(snapshot.courses)))
    return Row(f"offers of {len(snapshot.courses):,} courses", Job(work), "all, one by one", base)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=25)
    rounds = parser.parse_args().rounds
    rows: list[Row] = []
    for count in (10, 1_000, 10_000):
        site, snapshot = snapshot_of(count)
        if count == 1_000:
            rows += bench_plan(site, snapshot)
        rows.append(bench_offers(site, snapshot))
    gc.collect()
    gc.freeze()  # as a hub does
    # In turns, so that what the machine does meanwhile falls on all alike.
    for _ in range(rounds):
        for row in rows:
            row.ours.round()
            row.base.round()
    for row in rows:
        print(f"{row.name:<28} {row.ours.ms:8.3f} ms   {row.baseline:<24} {row.base.ms:8.3f} ms")
    plans = [row.ours.ms for row in rows if row.name.startswith("plan")]
    pages = [row.ours.ms for row in rows if row.name.startswith("offers")]
    met = max(plans) < 0.2 and max(pages) < 1.0 and pages[-1] < 3 * pages[0]
    print(f"goals (plan < 0.2 ms, offers < 1 ms and flat): {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
