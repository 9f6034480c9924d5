"""A course's own modules are for its kernels: they cannot stop or become the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

KERNEL = """
import os, subprocess, sys
value = [
    os.environ["PYTHONPATH"],
    subprocess.run([sys.executable, "-c", "import course; print(course.name)"],
                   capture_output=True, text=True).stdout.strip(),
    "json" in sys.modules and sys.modules["json"].__file__.startswith("/course"),
]
"""


def test_a_modules_name_does_not_matter_to_a_start(
    make_yard: Callable[..., Any], make_plan: Callable[..., Any]
) -> None:
    yard = make_yard()
    plan = make_plan("instructor", environment={"PYTHONPATH": "/course/pymod"})
    folder = yard.storage / "course" / "algo" / "files" / "pymod"
    first = yard.start(plan)
    first.run(f"import os\nos.mkdir('/course/{folder.name}')")
    yard.stop(first.handle, now=True)
    (folder / "course.py").write_text("name = 'algorithms'")
    for name in ("json", "http", "socket"):
        (folder / f"{name}.py").write_text("raise RuntimeError('a module of the course')")
    (folder / "sitecustomize.py").write_text(
        "import sys\nif 'start.py' in str(sys.orig_argv): sys.exit(9)"
    )
    second = yard.start(plan)
    try:
        assert second.run(KERNEL) == ["/course/pymod", "algorithms", False]
    finally:
        yard.stop(second.handle, now=True)
