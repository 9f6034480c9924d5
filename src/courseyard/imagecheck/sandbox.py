"""Run the tests of an image that is a folder: in a sandbox, without storage and network."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from courseyard.backends.sandbox import launch, limits, machine
from courseyard.errors import BackendError, ImageError
from courseyard.imagecheck import results
from courseyard.imagecheck.job import CHECKER, COMMAND, KIT, SCRATCH, Job, write_kit
from courseyard.plan.model import Limits, Mount
from courseyard.settings import Site

_SECONDS = 3600.0  # for all tests of one image
_ENDING = 10.0  # seconds that killed processes may take to be gone
_KIT = Mount(target=KIT, source="kit", writable=False, reason="the tests")


def run(site: Site, job: Job, tell: results.Tell) -> list[results.Result]:
    """The results of all tests; nothing is left behind.

    Raises:
        ImageError: no sandbox can be made, or the tests do not end.
    """
    top = Path(tempfile.mkdtemp(prefix="courseyard-check-"))
    try:
        (top / "kit").mkdir()
        write_kit(top / "kit", site, job)
        for name in SCRATCH:
            (top / name).mkdir(mode=0o700)
            if machine.is_root():
                os.chown(top / name, CHECKER.uid, CHECKER.gid)
        return _run(job, top, tell)
    finally:
        shutil.rmtree(top, ignore_errors=True)


def _run(job: Job, top: Path, tell: results.Tell) -> list[results.Result]:
    plan = job.student.model_copy(update={"mounts": (*job.student.mounts, _KIT)})
    reading, writing = os.pipe()
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, reading)
        cgroup = stack.enter_context(_cgroup(plan.limits))
        sources = {mount.source: _opened(top / mount.source) for mount in plan.mounts}
        for number in sources.values():
            stack.callback(os.close, number)
        wanted = launch.Wanted(
            plan=plan,
            environment=plan.environment,
            folder=top,
            sources=sources,
            output=writing,
            cgroup=cgroup,
            command=COMMAND,
        )
        try:
            running = launch.Launch(wanted).run()
        except BackendError as error:
            raise ImageError(error.message, error.next_step, detail=error.detail) from error
        finally:
            os.close(writing)
        stack.callback(_end, running)
        return results.read(results.lines(reading, _SECONDS), tell)


def _end(running: launch.Running) -> None:
    """Kill the first process, with which all others end, and wait: their folders are removed next."""
    running.init.signal(signal.SIGKILL)
    until = time.monotonic() + _ENDING
    while (running.init.runs() or running.outer.runs()) and time.monotonic() < until:
        time.sleep(0.02)


def _opened(folder: Path) -> int:
    return os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


@contextlib.contextmanager
def _cgroup(limited: Limits) -> Iterator[limits.Cgroup]:
    """A control group with the limits of a server, where this account may make one."""
    hierarchy = limits.detect("courseyard-check")
    if not hierarchy.version:
        yield limits.Cgroup()
        return
    made = hierarchy.make(f"image-{os.getpid()}", limited)
    try:
        yield made
    finally:
        made.clear()
