"""How commands speak: Rich on a terminal, plain lines when piped, JSON where a program reads."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from courseyard.errors import CourseyardError, Problem, Severity

log = logging.getLogger(__name__)

#: Columns of a terminal below which a table would break its words.
_NARROW = 60
#: Told how much is done (0 to 1) and what is being done.
Tell = Callable[[float, str], None]


def clean(text: str) -> str:
    """``text`` with control characters made visible: a title must not draw on the terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def out() -> Console:
    """Standard output as it is now."""
    return Console(file=sys.stdout, highlight=False, soft_wrap=True)


def err() -> Console:
    """Standard error as it is now."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


def line(text: str = "", style: str = "") -> None:
    """One line of output; never read as markup."""
    out().print(Text(text, style=style))


def plain(text: str) -> None:
    """One line of output as it is, for programs and pipes."""
    sys.stdout.write(text + "\n")


def note(text: str, style: str = "") -> None:
    """One line for the person beside the output, on standard error."""
    err().print(Text(text, style=style))


def print_json(value: Any) -> None:
    """``value`` as JSON for a program: UTF-8, whatever bytes a file's name has."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    sys.stdout.write(text.encode(errors="surrogateescape").decode(errors="replace") + "\n")


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table; a list where a narrow terminal has no place; plain columns where it is none."""
    cells = [[clean(cell) for cell in row] for row in rows]
    console = out()
    if console.is_terminal and console.width < _NARROW:
        _list(headings, cells)
        return
    if console.is_terminal:
        shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for heading in headings:
            shown.add_column(heading, overflow="fold")
        for row in cells:
            shown.add_row(*(Text(cell) for cell in row))
        Console(file=sys.stdout, highlight=False).print(shown)
        return
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    for row in ([heading.upper() for heading in headings], *cells):
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("  ".join(padded).rstrip() + "\n")


def _list(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Each row as its first cell with the others below it."""
    for first, *others in rows:
        line(first, "bold")
        for heading, cell in zip(headings[1:], others, strict=True):
            if cell:
                out().print(Padding(Text(f"{heading}: {cell}" if heading else cell), (0, 0, 0, 2)),
                            soft_wrap=False)  # fmt: skip


def problem(found: Problem) -> None:
    """A problem of a file on one line of standard output: ``file:line: key: message``."""
    level = "red" if found.severity is Severity.ERROR else "yellow"
    line(clean(str(found)), level)


@contextmanager
def progress(title: str) -> Iterator[Tell]:
    """A bar for what takes longer than two seconds; plain lines when piped."""
    console = err()
    if not console.is_terminal:
        yield _plain_tell()
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task(title, total=1.0)

        def tell(part: float, message: str) -> None:
            bar.update(task, completed=part, description=clean(message))

        yield tell


@contextmanager
def progress_when_long(title: str, seconds: float = 2.0) -> Iterator[Tell]:
    """:func:`progress` for what may be done at once: silent until it has taken ``seconds``."""
    last = (0.0, title)
    shown: list[Tell] = []
    lock = threading.Lock()
    with ExitStack() as stack:

        def show() -> None:
            with lock:
                shown.append(stack.enter_context(progress(title)))
                shown[0](*last)

        def tell(part: float, message: str) -> None:
            nonlocal last
            with lock:
                last = (part, message)
                for each in shown:
                    each(part, message)

        timer = threading.Timer(seconds, show)
        timer.daemon = True
        timer.start()
        try:
            yield tell
        finally:
            timer.cancel()
            timer.join()  # it may be showing right now


def _plain_tell() -> Tell:
    last = ""

    def tell(part: float, message: str) -> None:
        nonlocal last
        if message != last:
            last = message
            note(f"{clean(message)} …" if part < 1 else clean(message))

    return tell


def error(found: CourseyardError) -> None:
    """An error in the person's words, with the next step; causes only with ``--debug``."""
    note(clean_lines(found.message), "red")
    if found.next_step:
        note(clean_lines(found.next_step))
    problems: tuple[Problem, ...] = getattr(found, "problems", ())
    for each in problems:
        if str(each) not in found.message:
            note(clean(str(each)))
    # The person at this command line runs the site: causes are theirs to see.
    if found.detail:
        note(clean_lines(found.detail), "dim")
    log.debug("%s %s", found.reason, found.id, exc_info=found)


def clean_lines(text: str) -> str:
    """:func:`clean` for text of several lines."""
    return "\n".join(clean(part) for part in text.splitlines())


def fail(message: str, next_step: str = "") -> NoReturn:
    """End the command with a sentence and exit status 1."""
    note(clean_lines(message), "red")
    if next_step:
        note(clean_lines(next_step))
    raise typer.Exit(1)


def set_up_log(debug: bool) -> None:
    """Log to standard error; a command is silent there unless asked."""
    level = logging.DEBUG if debug else logging.ERROR
    logging.basicConfig(
        level=level, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s", force=True
    )
    os.environ["COURSEYARD_DEBUG"] = "1" if debug else ""
