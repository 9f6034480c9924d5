"""Which kernels start without the notebook's folder, and which stay as they are."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from courseyard.singleuser import kernels

HERE = str(Path(sys.executable).parent / "python3")
FILE = ["-f", "{connection_file}"]
START = "the text"


@pytest.mark.parametrize(
    "python", ["python", "python3", f"python3.{sys.version_info[1]}", sys.executable, HERE]
)
@pytest.mark.parametrize("options", [[], ["-Xfrozen_modules=off"], ["-X", "utf8", "-u"]])
@pytest.mark.parametrize("module", ["ipykernel_launcher", "ipykernel"])
def test_ipython_of_the_image(python: str, options: list[str], module: str) -> None:
    stock = [python, *options, "-m", module, *FILE]
    assert kernels.guarded(stock, START) == [python, "-P", *options, "-c", START, *FILE]


def test_another_module_of_the_images_python() -> None:
    stock = [HERE, "-m", "bash_kernel", *FILE]
    assert kernels.guarded(stock, START) == [HERE, "-P", "-m", "bash_kernel", *FILE]


@pytest.mark.parametrize(
    "argv",
    [
        ["R", "--slave", "-e", "IRkernel::main()", "--args", "{connection_file}"],
        ["julia", "-i", "kernel.jl", "{connection_file}"],
        ["/opt/conda/envs/x/bin/python", "-m", "ipykernel_launcher", *FILE],
        ["python3.9", "-m", "ipykernel_launcher", *FILE],
        ["/usr/bin/env", "python", "-m", "ipykernel_launcher", *FILE],
        ["python", "kernel.py", "-m", "ipykernel_launcher", *FILE],
        ["python", "-m"],
        ["xpython", *FILE],
    ],
)
def test_others_stay_as_they_are(argv: list[str]) -> None:
    assert kernels.guarded(argv, START) == argv


def test_a_guarded_one_stays_as_it_is() -> None:
    once = kernels.guarded(["python", "-m", "ipykernel_launcher", *FILE], START)
    assert kernels.guarded(once, START) == once


def test_the_text_holds_nothing_that_jupyter_fills_in() -> None:
    text = Path(kernels.__file__).with_name("kernelstart.py").read_text()
    assert "{" not in text
