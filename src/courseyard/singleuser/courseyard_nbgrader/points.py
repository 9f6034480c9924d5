"""nbgrader's ``SaveAutoGrades``, for tests among whose outputs are those of students' code.

nbgrader takes the first output that it can judge (nbgrader/utils.py, ``determine_grade``). Code that is tested
writes outputs, too: with ``get_ipython().displayhook(1)`` it chose its own points, though the test failed.
"""

# mypy: disable-error-code="misc, import-not-found, no-any-return, has-type"
# Jupyter and nbgrader are the image's: they have no types here.
from __future__ import annotations

import ast
import json
import math
from typing import Any

from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader import preprocessors, utils


class SaveAutoGrades(preprocessors.SaveAutoGrades):
    """It has nbgrader's name, so that nbgrader's settings for it hold."""

    def _add_score(self, cell: Any, resources: Any) -> None:
        if cell.cell_type != "code" or utils.is_solution(cell):
            super()._add_score(cell, resources)  # graded by hand
            return
        outputs, why = counted(cell, python=self._is_python())
        super()._add_score(NotebookNode({**cell, "outputs": outputs}), resources)
        if why:
            test = cell.metadata.nbgrader["grade_id"]
            message = "No points for the test '%s' of '%s' in '%s': %s. Grade it by hand."
            self.log.warning(message, test, self.student_id, self.notebook_id, why)
            grade = self.gradebook.find_grade(
                test, self.notebook_id, self.assignment_id, self.student_id
            )
            grade.needs_manual_grade = True
            self.gradebook.db.commit()

    def _is_python(self) -> bool:
        """By the instructor's notebook: a submission could say what it likes."""
        notebook = self.gradebook.find_notebook(self.notebook_id, self.assignment_id)
        about = json.loads(notebook.kernelspec or "{}")
        language = about.get("language") or about.get("name") or "python"
        return str(language).lower().startswith("python")


def counted(cell: Any, *, python: bool) -> tuple[list[Any], str]:
    """The outputs of a test by which it is judged.

    An error anywhere is no points. A number is points where it is the result of the test's own last
    expression, the only one, finite, and within what the test gives.

    Args:
        python: whether the test is in Python, so that its last expression is known.

    Returns:
        What nbgrader may see, and why a person should look; "" where nobody need.
    """
    nothing = [new_output("error", ename="NotCounted", evalue="", traceback=[])]
    if utils.has_failed(cell):
        return nothing, ""
    if cell.source.strip() and cell.get("execution_count") is None:
        return nothing, "it did not run"  # a tag asks for that, or the kernel answered without
    numbers = [number for number in map(_number, cell.outputs) if number is not None]
    if not numbers or (python and not ends_with_expression(cell.source)):
        return [], ""
    most = float(cell.metadata.nbgrader["points"])
    if len(numbers) > 1:
        return nothing, f"it has {len(numbers)} results that are numbers"
    (number,) = numbers
    if not math.isfinite(number) or not 0 <= number <= most:
        return nothing, f"its result is {number:g}, which is not between 0 and {most:g}"
    return [new_output("execute_result", data={"text/plain": str(number)})], ""


def _number(output: Any) -> float | None:
    """The number that a cell has as a result; None of other outputs."""
    if output.output_type != "execute_result":
        return None
    text = output.get("data", {}).get("text/plain")
    try:
        return float("".join(text))  # text, or a list of its lines
    except (TypeError, ValueError):
        return None


def ends_with_expression(source: str) -> bool:
    """Whether the last statement of a cell is an expression whose value IPython shows."""
    try:
        code = TransformerManager().transform_cell(source)
        (*_, last) = ast.parse(code).body or [None]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    if not isinstance(last, ast.Expr):
        return False
    assert last.end_lineno is not None
    assert last.end_col_offset is not None
    rest = "\n".join(code.split("\n")[last.end_lineno - 1 :]).encode()[last.end_col_offset :]
    # After the last statement stand comments and semicolons alone; one of these hides the value.
    return b";" not in rest.split(b"#")[0]
