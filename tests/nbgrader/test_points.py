"""Points of a test are the test's to give: the code that it tests writes outputs as well.

Each attack is seen to work first, with the piece taken away that stops it.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.nbgrader.conftest import COURSE, Place
from tests.nbgrader.test_course_directory import ANSWER, TEST, put, without
from tests.nbgrader.test_single_user_server import hub as hub  # the fixture
from tests.nbgrader.test_single_user_server import plan_of, start

WEEK, NOTEBOOK = "points", "points.ipynb"
SHOWS = "get_ipython().displayhook"
CLEARS = "get_ipython().events.register('post_run_cell', lambda *_: display.clear_output())"
RAISES = f"{SHOWS}(4); raise ValueError"
#: What a function does that should give 42 → points by us, and by nbgrader alone, of two tests, each of four points.
#: One test asserts. The other gives a part of its points as its result, as nbgrader's documentation says.
CASES: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "return 42": ((4, 4), (4, 4)),
    "return 41": ((0, 1.5), (0, 1.5)),
    "print(2); return 42": ((4, 4), (4, 4)),
    "print(2, file=sys.stderr); return 42": ((0, 0), (0, 0)),
    f"{SHOWS}('a picture'); return 42": ((4, 4), (4, 4)),
    f"{SHOWS}(0); return 42": ((4, 0), (0, 0)),
    # What is not earned:
    f"{SHOWS}(4)": ((0, 0), (4, 4)),
    f"{SHOWS}(2)": ((0, 0), (2, 2)),
    f"{SHOWS}(float('nan'))": ((0, 0), (4, 4)),
    f"{SHOWS}(-1e308)": ((0, 0), (4, 4)),
    f"{SHOWS}('no number')": ((0, 1.5), (4, 4)),
    RAISES: ((0, 0), (4, 4)),
    CLEARS: ((0, 1.5), (0, 4)),  # the last one: it acts from here on
}
#: nbgrader's own rules.
STOCK = """
from courseyard_nbgrader import execute, points
points.counted = lambda cell, python: (cell.outputs, "")
del execute.Execute.clear_output
"""
#: The kernel answers for the cells that follow, and runs none of them.
ABORTS = "get_ipython().kernel._aborting = True"


def graded_cells() -> list[dict[str, Any]]:
    sources = {}
    for number in range(len(CASES)):
        sources[f"plain{number}"] = f"assert answer{number}() == 42"
        sources[f"partial{number}"] = f"found = answer{number}()\n4 if found == 42 else 1.5"
    about = TEST["metadata"]["nbgrader"]
    return [
        TEST
        | {"id": name, "source": source}
        | {"metadata": {"nbgrader": about | {"grade_id": name, "points": 4}}}
        for name, source in sources.items()
    ]


def notebook(*does: str, first: str = "", **metadata: Any) -> str:
    """A student's, whose functions do this, with a first line and more metadata of the tests."""
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    answer = f"import sys\nfrom IPython import display\n{first}\n"
    answer += "\n".join(f"def answer{number}(): {each}" for number, each in enumerate(does))
    cells = [ANSWER | {"source": answer}, *graded_cells()]
    for cell in cells[1:]:
        cell["metadata"] |= metadata
    about = {"metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps({"cells": cells, **about})


@pytest.fixture(scope="module", autouse=True)
def generated(place: Place) -> None:
    place.ada.run("sh", "-c", 'rm -rf "$0"/*', str(place.course / "source"))
    put(place.ada, place.course / "source" / WEEK / NOTEBOOK, notebook())
    place.ada.nbgrader("generate_assignment", WEEK)


def submit(place: Place, name: str, book: str) -> None:
    put(place.ada, place.course / "submitted" / name / WEEK / NOTEBOOK, book)


def points(place: Place) -> tuple[dict[str, list[tuple[float, float]]], set[str]]:
    """Of each student the points of both tests of each case; and the tests of Maija that wait for a person."""
    said = place.ada.python(f"""
import json
from nbgrader.api import Gradebook
with Gradebook("sqlite:///{place.course}/gradebook.db?timeout=60", "{COURSE}") as book:
    print(json.dumps({{
        submission.student.id: {{
            g.name: [g.auto_score, g.needs_manual_grade] for n in submission.notebooks for g in n.grades
        }}
        for submission in book.assignment_submissions("{WEEK}")
    }}))
""")
    found = json.loads(said)
    waiting = {name for name, (_, by_hand) in found.get("maija", {}).items() if by_hand}
    return {
        student: [(of[f"plain{n}"][0], of[f"partial{n}"][0]) for n in range(len(CASES))]
        for student, of in found.items()
    }, waiting


def test_code_does_not_choose_its_points(place: Place) -> None:
    nothing, everything = [(0, 0)] * len(CASES), [(4, 4)] * len(CASES)
    wrong = ["return 0"] * len(CASES)
    submit(place, "maija", notebook(*CASES))
    submit(place, "tagged", notebook(*wrong, tags=["skip-execution"]))
    submit(place, "aborts", notebook(*wrong, first=ABORTS))
    submit(place, "over", notebook(*[f"{SHOWS}(5)"] * len(CASES)))
    said = without(place.ada, STOCK, "autograde", WEEK)
    found, _ = points(place)
    assert found["maija"] == [stock for _, stock in CASES.values()], said
    assert found["tagged"] == found["aborts"] == everything
    assert "partial credit cannot be greater" in said, "it is not graded at all"

    said = place.ada.nbgrader("autograde", WEEK, "--force")
    found, waiting = points(place)
    assert found["maija"] == [ours for ours, _ in CASES.values()], said
    assert found["tagged"] == found["aborts"] == found["over"] == nothing
    assert "No points for the test 'plain0' of 'tagged' in 'points': it did not run." in said
    # Two results and no error:
    twice = [
        n for n, (does, ((_, part), _)) in enumerate(CASES.items()) if SHOWS in does and not part
    ]
    twice.remove(list(CASES).index(RAISES))
    assert waiting == {f"partial{number}" for number in twice}, "and what an error settles does not"


def test_formgrader_and_feedback_say_the_same(place: Place, hub: str) -> None:
    submit(place, "maija", notebook(*CASES))
    server = start(place.ada, hub, plan_of(place, "instructor"))
    try:
        said = server.get(f"formgrader/api/submission/{WEEK}/maija/autograde", "POST")[1]
    finally:
        server.stop()
    assert json.loads(said)["success"], said
    ours = [pair for pair, _ in CASES.values()]
    assert points(place)[0]["maija"] == ours
    place.ada.nbgrader("generate_feedback", WEEK, "--student=maija")
    file = place.course / "feedback" / "maija" / WEEK / "points.html"
    assert f"(Score: {sum(map(sum, ours))} / {8.0 * len(CASES)})" in file.read_text()


#: Source of a test → whether its last expression has a value that is shown.
SOURCES = {
    "score(answer)": True,
    "assert answer == 42\n\nx = 1\nx  # points; all of them": True,
    "%time score(answer)": True,
    "!ls\nscore(answer)": True,
    "'é'; await score(';')": True,
    "(score(answer)\n)": True,
    "score(answer);": False,
    "(score(answer)\n) ;  # quiet": False,
    "score = 1": False,
    "assert answer == 42": False,
    "if answer:\n    score(answer)": False,
    "def f():\n    return 1": False,
    "# nothing": False,
    "": False,
    "score(": False,
}
JUDGED = """
import json, os, sys
sys.path.insert(0, os.environ["JUPYTER_CONFIG_PATH"])
from courseyard_nbgrader import points
from nbformat.v4 import new_code_cell, new_output

def counts(source, *results, python=True):
    cell = new_code_cell(source, execution_count=1, metadata={"nbgrader": {"points": 4}})
    cell.outputs = [new_output("execute_result", data={"text/plain": text}) for text in results]
    outputs, why = points.counted(cell, python=python)
    return [output.output_type for output in outputs] + [why]

print(json.dumps([
    {source: points.ends_with_expression(source) for source in SOURCES},
    counts("score", "1.5"),
    counts("score", ["1.5"]),
    counts("score", "no number"),
    counts("score", "4.5"),
    counts("score", "inf"),
    counts("score", "1", "1"),
    counts("score = 1", "1"),
    counts("score = 1", "1", python=False),
    counts("score <- 1; score", "1", python=False),
]))
"""


def test_what_a_result_is(place: Place) -> None:
    sources, *found = json.loads(place.ada.python(JUDGED.replace("SOURCES", repr(list(SOURCES)))))
    assert sources == SOURCES
    counts, none = ["execute_result", ""], [""]
    assert found == [
        counts,
        counts,
        none,
        ["error", "its result is 4.5, which is not between 0 and 4"],
        ["error", "its result is inf, which is not between 0 and 4"],
        ["error", "it has 2 results that are numbers"],
        none,
        counts,
        counts,
    ]
