"""Become a kernel that runs a student's code: ``python -I kernel.py FOLDER PROCESSES COMMAND …``.

In a sandbox it is confined by what is around it, and PROCESSES is 0; in a pod this is what its server does
(start.py).

Python 3.9 and the standard library alone.
"""

from __future__ import annotations

import importlib
import os
import resource
import sys
from pathlib import Path

PROGRAMS = Path(__file__).resolve().parent.parent


def main() -> None:
    folder, processes, *command = sys.argv[1:]
    os.setsid()
    os.chdir(folder)
    # Where memory runs out this is what the kernel of the machine ends, not the runner.
    Path("/proc/self/oom_score_adj").write_text("1000")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if int(processes):
        resource.setrlimit(resource.RLIMIT_NPROC, (int(processes), int(processes)))
    sys.path.insert(0, str(PROGRAMS.parent))
    seccomp, confine = (
        importlib.import_module(f"{PROGRAMS.name}.{name}")
        for name in ("seccomp", "grading.confine")
    )
    seccomp.install()
    if confine.program():
        seccomp.install(confine.program())
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main()
