"""Runs all tests of a job and writes their results as JSON lines on standard output."""

from __future__ import annotations

import json
import os
from pathlib import Path

from . import courses, loop, software
from .place import Place
from .report import Report


def main(folder: str) -> None:
    """Run the tests of the kit in ``folder``: this program, job.json and the courses' files."""
    # Results go out by a descriptor that no program of the image inherits.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    kit = Path(folder)
    job = json.loads((kit / "job.json").read_text(encoding="utf-8"))
    place = Place(job, kit)
    report = Report(channel)
    tests = [
        *software.tests(job, place),
        *loop.tests(job["course_id"], job["username"], place),
        *courses.tests(job["courses"], job["cell_seconds"], place),
    ]
    report.planned(tests)
    for test in tests:
        report.run(test)
    report.done()
