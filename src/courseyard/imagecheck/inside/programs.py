"""Run the image's own programs, with a limit of time and of what they may say."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from .report import FailedError

_SECONDS = 600  # that one program may take
_TAIL = 64 * 1024  # bytes of its output that are looked at
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
#: The mark before an answer of a ``probe_*`` script.
ANSWER = "answer: "


def run(
    words: list[str],
    folder: str,
    environment: dict[str, str],
    *,
    umask: int = 0o022,
    seconds: float = _SECONDS,
) -> str:
    """The end of what a program wrote.

    Args:
        seconds: after which it is killed, with all that it started.

    Raises:
        FailedError: it is missing, took too long or failed.
    """
    with tempfile.TemporaryFile() as written:
        try:
            process = subprocess.Popen(
                words,
                cwd=folder,
                env=environment,
                umask=umask,
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise FailedError(f"{Path(words[0]).name} cannot be run: {error.strerror}.") from error
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise FailedError(f"It was not done after {seconds:.0f} s.") from error
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        written.seek(max(0, written.seek(0, os.SEEK_END) - _TAIL))
        text = _COLOUR.sub("", written.read().decode("utf-8", "replace"))
    if status:
        raise FailedError(_last_line(text) or f"It ended with exit status {status}.")
    return text


def probe(script: str, *words: str, folder: str, environment: dict[str, str]) -> Any:
    """What a script beside this file answers; it runs with the image's packages.

    Raises:
        FailedError: it failed or did not answer.
    """
    program = str(Path(__file__).with_name(script))
    text = run([sys.executable, "-I", program, *words], folder, environment)
    for line in reversed(text.splitlines()):
        if line.startswith(ANSWER):
            return json.loads(line[len(ANSWER) :])
    raise FailedError("It ended without an answer.")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip(" -=\t")]
    return lines[-1] if lines else ""
