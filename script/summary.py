"""What test runs found, from their JUnit files: numbers, and a line for each test that failed."""

from __future__ import annotations

import argparse
import xml.etree.ElementTree as tree
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

_WIDTH = 400  # characters of a failure's first lines
_LONGEST = 40


def _root(file: Path) -> tree.Element:
    return tree.parse(file).getroot()  # noqa: S314  pytest wrote it


def broken(file: Path) -> Iterator[tuple[tree.Element, tree.Element]]:
    """The test cases that did not pass, each with its failure or error."""
    for case in _root(file).iter("testcase"):
        for kind in ("failure", "error"):
            if (found := case.find(kind)) is not None:
                yield case, found
                break


def failed_files(file: Path) -> list[str]:
    """Test files, by path, in which something failed."""
    names = {case.get("classname", "") for case, _ in broken(file)}
    return sorted(f"{name.replace('.', '/')}.py" for name in names)


def summary(folder: Path) -> Iterator[str]:
    """Lines for all runs in ``folder``: first the failures, last the numbers."""
    files = sorted(folder.glob("*.xml"))
    for file in files:
        for case, found in broken(file):
            said = " ".join((found.get("message") or found.text or "").split())
            yield f"  {file.stem}: {case.get('classname')}::{case.get('name')}: {said[:_WIDTH]}"
    for file in files:
        suite = next(_root(file).iter("testsuite")).attrib
        failed = int(suite["failures"]) + int(suite["errors"])
        passed = int(suite["tests"]) - failed - int(suite["skipped"])
        yield (
            f"  as {file.stem}: {passed} passed, {failed} failed, {suite['skipped']} skipped,"
            f" {float(suite['time']):.0f} s"
        )


def longest(folder: Path) -> Iterator[str]:
    """Lines for the files that took longest, in seconds, with their set-up."""
    seconds: dict[str, float] = defaultdict(float)
    for file in folder.glob("*.xml"):
        for case in _root(file).iter("testcase"):
            name = f"{case.get('classname', '').replace('.', '/')}.py ({file.stem})"
            seconds[name] += float(case.get("time") or 0)
    for name, taken in sorted(seconds.items(), key=lambda each: -each[1])[:_LONGEST]:
        yield f"  {taken:6.0f} s {name}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--failed-files", action="store_true")
    parser.add_argument("path", type=Path)
    given = parser.parse_args()
    if given.failed_files:
        print(*failed_files(given.path))
    else:
        print(*longest(given.path), *summary(given.path), sep="\n")


if __name__ == "__main__":
    main()
