"""nbgrader 0.9's *Validate*, with a sentence for what can be said in one.

Its own answer to a copied cell or a missing kernel is a traceback
(nbgrader/server_extensions/validate_assignment/handlers.py).
"""

# mypy: disable-error-code="misc, import-not-found, attr-defined, untyped-decorator, no-any-return"
# Jupyter and nbgrader are the image's: they have no types here.
from __future__ import annotations

from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_server.utils import url_path_join
from nbgrader.server_extensions.validate_assignment import handlers

from .courseyard_nbgrader import fit

_UNKNOWN = "The notebook could not be run. Run all its cells yourself to see where it stops."


class ValidateHandler(handlers.ValidateAssignmentHandler):
    """*Validate*: what would fail for other reasons than the tests is said before they run."""

    def validate_notebook(self, path: str) -> dict[str, Any]:
        file = Path(self.root_dir, path.lstrip("/")).resolve()
        found = (
            fit.notebook(file, KernelSpecManager().find_kernel_specs()) if file.is_file() else []
        )
        if found:
            return {"success": False, "value": " ".join(found)}
        result: dict[str, Any] = super().validate_notebook(path)
        if not result["success"]:
            return {"success": False, "value": _UNKNOWN, "log": str(result["value"])}
        hidden = fit.hidden_tests(file)
        return result | {"said": said(result["value"], hidden)}


def said(result: dict[str, Any], hidden: bool) -> str:
    """What the tests showed, in a sentence.

    Args:
        result: of nbgrader's ``Validator.validate``.
        hidden: there are tests that only the teacher has.
    """
    if result.get("type_changed") or result.get("changed"):
        return (
            "A cell that is not yours to change was changed. Fetch the assignment again to see it "
            "as it was: rename your notebook first."
        )
    number = len(result.get("failed", ()))
    if number:
        cells = "One cell fails" if number == 1 else f"{number} cells fail"
        return f"{cells}. You can submit all the same."
    if hidden:
        return (
            "Your notebook passes all the tests that you can see. Your teacher has further tests, "
            "which run when it is graded."
        )
    return "Your notebook passes all the tests that you can see."


def prepare(app: Any) -> None:
    """Before the extensions load: the first handler of an address answers."""
    address = url_path_join(app.base_url, "assignments/validate")
    app.web_app.add_handlers(".*$", [(address, ValidateHandler)])


def mend(app: Any) -> None:
    """After the extensions are loaded: nothing more."""
