"""What students get of an assignment: nothing that only the source had, and all that is theirs.

A mark stands in every place of a source notebook that is no student's; the whole release is searched
for them, as text and as the content of a picture.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.nbgrader.conftest import COURSE, Place
from tests.nbgrader.test_course_directory import put, without

UNIT, NOTEBOOK = "leaks", "leaks.ipynb"
NOT_OURS = "converters.ReleaseOnly.preprocess = lambda self, book, resources: (book, resources)"
#: nbgrader's own list; a line of a course that takes ours out of it changes nothing.
LINES = """
from nbgrader import converters
c.GenerateAssignment.preprocessors = converters.GenerateAssignment.preprocessors.default_args[0]
c.ClearOutput.enabled = False
"""


class Marks:
    """Unique words, each with the place it stands for."""

    def __init__(self) -> None:
        self.secret: dict[str, str] = {}
        self.public: dict[str, str] = {}

    def hide(self, place: str) -> str:
        return self.secret.setdefault(place, f"SECRET{len(self.secret):03}SECRET")

    def show(self, place: str) -> str:
        return self.public.setdefault(place, f"PUBLIC{len(self.public):03}PUBLIC")


def picture(mark: str) -> dict[str, str]:
    return {"image/png": base64.b64encode(mark.encode()).decode()}


def cell(
    kind: str, source: str, about: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    made: dict[str, Any] = {"cell_type": kind, "source": source, "metadata": {}, **more}
    if kind == "code":
        made = {"outputs": [], "execution_count": None} | made
    if about is not None:
        plain = {"schema_version": 3, "grade": False, "solution": False, "locked": False}
        made["metadata"] = made["metadata"] | {"nbgrader": plain | {"task": False} | about}
    return made


def source(m: Marks) -> dict[str, Any]:
    """A notebook with a mark in every place that is known to be one."""
    region = "### BEGIN SOLUTION\n{}\n### END SOLUTION"
    answer = {"solution": True, "grade": True, "points": 3}
    state = {"state": {"1": {"model_name": "HTMLModel", "state": {"value": m.hide("widget")}}}}
    output = {
        "output_type": "execute_result",
        "execution_count": 1,
        "metadata": {"x": m.hide("an output's metadata")},
        "data": {"text/plain": m.hide("an output"), **picture(m.hide("an output's picture"))},
    }
    cells = [
        cell(
            "markdown",
            f"{m.show('read-only text')} ![x](attachment:image.png) ![y](attachment:my%20one.png)"
            ' <img src="attachment:c.png"/> ![d](<attachment:d e.png>)',
            {"grade_id": "text", "locked": True},
            attachments={
                "image.png": picture(m.show("a picture")),
                "my one.png": picture(m.show("a picture with a space")),
                "c.png": picture(m.show("a picture in HTML")),
                "d e.png": picture(m.show("a picture in brackets")),
                "image.pn": picture(m.hide("the beginning of another's name")),
                "old.png": picture(m.hide("a picture that no text shows")),
            },
            metadata={"tags": [m.show("tags")], "jupyter": {"source_hidden": True}},
        ),
        cell("markdown", m.show("text of no kind"), metadata={"slideshow": {"slide_type": "-"}}),
        cell(
            "markdown",
            f"Model: {m.hide('an answer')} ![image.png](attachment:image.png)",
            {"grade_id": "answer", **answer},
            attachments={"image.png": picture(m.hide("an answer's picture"))},
        ),
        cell(
            "markdown",
            f"{m.show('around')} ![](attachment:a.png)\n"
            + region.format(f"{m.hide('a region')} ![](attachment:b.png)"),
            {"grade_id": "part", **answer},
            attachments={
                "a.png": picture(m.show("a picture around a region")),
                "b.png": picture(m.hide("a picture of a region")),
            },
        ),
        cell(
            "markdown",
            f"{m.show('a task')}\n### BEGIN MARK SCHEME\n{m.hide('a scheme')}\n"
            '<img src="attachment:m.png">\n### END MARK SCHEME',
            {"grade_id": "task", "task": True, "locked": True, "points": 2},
            attachments={"m.png": picture(m.hide("a scheme's picture"))},
        ),
        cell(
            "code",
            "def f():\n" + region.format(f"    return '{m.hide('code')}'"),
            {"grade_id": "f", "solution": True},
            outputs=[output],
            execution_count=7,
            metadata={
                "ExecuteTime": {"end": m.hide("execution info")},
                "execution": {"iopub.status.busy": m.hide("execution times")},
                "solution2": m.hide("solution2"),
                "nbdime-conflicts": {"local_diff": m.hide("an older source")},
            },
        ),
        cell(
            "code",
            f"assert f() # {m.show('a test')}\n### BEGIN HIDDEN TESTS\n{m.hide('a hidden test')}\n"
            "### END HIDDEN TESTS",
            {"grade_id": "test", "grade": True, "locked": True, "points": 1},
            outputs=[output],
        ),
        cell("code", f"# {m.show('plain code')}", outputs=[output]),
        cell(
            "raw",
            m.show("a raw text"),
            attachments={"r.png": picture(m.hide("a raw text's picture"))},
        ),
    ]
    for number, each in enumerate(cells):
        each["id"] = f"c{number}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    about = {
        "kernelspec": kernel,
        "title": m.show("the title"),
        "widgets": {"application/vnd.jupyter.widget-state+json": state},
        "varInspector": {"x": m.hide("variables")},
        "papermill": {"parameters": {"x": m.hide("parameters")}},
    }
    return {"cells": cells, "metadata": about, "nbformat": 4, "nbformat_minor": 5}


def found(folder: Path, marks: dict[str, str]) -> set[str]:
    """Which places' marks are in any file, or in the name of one."""
    texts = [str(path.relative_to(folder)) for path in folder.rglob("*")]
    texts += [path.read_text() for path in folder.rglob("*") if path.is_file()]
    text = "\n".join(texts)
    inside = {mark: picture(mark)["image/png"] for mark in marks.values()}
    return {place for place, mark in marks.items() if mark in text or inside[mark] in text}


@pytest.fixture(scope="module")
def marks(place: Place) -> Marks:
    m = Marks()
    put(place.ada, place.course / "source" / UNIT / NOTEBOOK, json.dumps(source(m)))
    return m


def test_what_only_the_source_had_is_in_no_file_of_a_release(place: Place, marks: Marks) -> None:
    release = place.course / "release" / UNIT
    append = place.course / "etc.jupyter.nbgrader_config.py.append"
    said = without(place.ada, NOT_OURS, "generate_assignment", UNIT)
    leaked = {"an answer's picture", "a scheme's picture", "widget", "solution2", "an older source"}
    assert found(release, marks.secret) >= leaked, said
    append.write_text(LINES)
    try:
        said = place.ada.nbgrader("generate_assignment", UNIT, "--force")
    finally:
        append.unlink()
    assert found(release, marks.secret) == set()
    assert found(release, marks.public) == set(marks.public), "what is theirs stays"
    for each in ("the attachment 'm.png' of cell 5", "the notebook that may not be", "solution2"):
        assert each in said, "teachers see what was left out"
    assert "the attachment 'd e.png'" not in said
    place.ada.nbgrader("release_assignment", UNIT)
    outbound = place.exchange / COURSE / "outbound" / UNIT
    assert found(outbound, marks.secret) == set()
    place.maija.nbgrader("fetch_assignment", UNIT)
    got = json.loads((place.maija.notebooks / COURSE / UNIT / NOTEBOOK).read_text())
    assert set(got["cells"][0]["attachments"]) == {"image.png", "my one.png", "c.png", "d e.png"}
    assert got["cells"][0]["metadata"]["jupyter"] == {"source_hidden": True}
