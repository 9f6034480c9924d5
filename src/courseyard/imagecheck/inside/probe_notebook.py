"""Execute a notebook: ``probe_notebook.py FILE SECONDS`` answers with each cell's error.

SECONDS is the time that one cell may take.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import nbclient
import nbformat
from jupyter_client.kernelspec import NoSuchKernel

ANSWER = "answer: "


def error_of(cell: Any) -> str | None:
    """The first line of a cell's error; None without one."""
    for each in cell.get("outputs", []):
        if each.output_type == "error":
            return str(f"{each.ename}: {each.evalue}".splitlines()[0])
    return None


def main() -> None:
    file, seconds = Path(sys.argv[1]), int(sys.argv[2])
    notebook = nbformat.read(file, as_version=4)
    options = {"timeout": seconds, "allow_errors": True}
    client = nbclient.NotebookClient(
        notebook, resources={"metadata": {"path": str(file.parent)}}, **options
    )
    try:
        client.execute()
    except NoSuchKernel as error:
        sys.exit(f"It wants the kernel {error.name!r}, which the image lacks.")
    except nbclient.exceptions.CellTimeoutError:
        sys.exit(f"A cell took longer than {seconds} s.")
    except nbclient.exceptions.DeadKernelError:
        sys.exit("Its kernel died; perhaps it needed more memory than a server has.")
    cells = [
        {"error": error_of(cell), "nbgrader": cell.metadata.get("nbgrader", {}),
         "tags": cell.metadata.get("tags", [])}
        for cell in notebook.cells
    ]  # fmt: skip
    print(ANSWER + json.dumps(cells), flush=True)


main()
