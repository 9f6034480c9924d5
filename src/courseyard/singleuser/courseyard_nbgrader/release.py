"""The last step of *Generate*: a released notebook holds what students see, and nothing behind it.

nbgrader 0.9 clears the text of solutions, tests and mark schemes, and the outputs. Pictures that were
pasted into such a text stay among the cell's attachments (nbgrader#1782), as do the state of widgets
and whatever extensions keep in the metadata.
"""

# mypy: disable-error-code="misc, import-not-found, no-any-return"
# Jupyter and nbgrader are the image's: they have no types here.
from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import List, Unicode

from .fit import ABOUT

#: Among nbconvert's resources: the source holds tests that students do not get.
HIDDEN_TESTS = "courseyard_hidden_tests"
#: Of nbformat 4 (nbformat/v4/nbformat.v4.5.schema.json). nbgrader checks its own metadata itself.
_CELL = {
    "code": {"id", "cell_type", "metadata", "source", "outputs", "execution_count"},
    "markdown": {"id", "cell_type", "metadata", "source", "attachments"},
    "raw": {"id", "cell_type", "metadata", "source", "attachments"},
}
_NOTEBOOK = {"cells", "metadata", "nbformat", "nbformat_minor"}
#: Left out without a word: what a program wrote while the source was worked on.
_STATE = {
    "collapsed",
    "scrolled",
    "execution",
    "ExecuteTime",
    "executionInfo",
    "widgets",
    "trusted",
}
#: Ends a name in a text: ``![x](attachment:name)``, ``<img src="attachment:name">``.
_END = r"(?=[\s)\"'>\]]|$)"


class ReleaseOnly(NbGraderPreprocessor):
    """Keeps of a notebook what is known to be for students."""

    cell_metadata = List(
        Unicode(),
        default_value=[
            "nbgrader", "deletable", "editable", "tags", "name", "format", "raw_mimetype",
            "jupyter", "slideshow", "rise", "hide_input", "hide_output", "heading_collapsed",
            "jp-MarkdownHeadingCollapsed", "init_cell", "run_control", "kernel", "language",
            "vscode", "lines_to_next_cell", "lines_to_end_of_cell_marker",
        ],
        help="Metadata of cells that students get; everything else is left out of the release.",
    ).tag(config=True)  # fmt: skip
    notebook_metadata = List(
        Unicode(),
        default_value=[
            "kernelspec", "language_info", "orig_nbformat", "title", "authors", "hide_input",
            "toc", "toc-autonumbering", "toc-showcode", "toc-showmarkdowntxt", "toc-showtags",
            "latex_envs", "livereveal", "rise", "jupytext", "sos", "vscode",
        ],
        help="Metadata of notebooks that students get; everything else is left out of the release.",
    ).tag(config=True)  # fmt: skip

    def preprocess(self, nb: Any, resources: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        _keep(nb, _NOTEBOOK)
        nb.metadata.pop(ABOUT, None)  # of an earlier release
        self._tell("the notebook", _keep(nb.metadata, set(self.notebook_metadata)))
        if resources.get(HIDDEN_TESTS):
            nb.metadata[ABOUT] = {"hidden_tests": True}
        return super().preprocess(nb, resources)

    def preprocess_cell(
        self, cell: Any, resources: dict[str, Any], cell_index: int
    ) -> tuple[Any, dict[str, Any]]:
        where = f"cell {cell_index + 1}"
        _keep(cell, _CELL.get(cell.cell_type, _CELL["raw"]))
        self._tell(where, _keep(cell.metadata, set(self.cell_metadata)))
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        attached = cell.get("attachments", {})
        for name in [name for name in attached if not refers(cell.source, name)]:
            del attached[name]
            self.log.warning(
                "Left out of the release: the attachment '%s' of %s, which its text does not show",
                name,
                where,
            )
        if not attached:
            cell.pop("attachments", None)
        return cell, resources

    def _tell(self, where: str, names: set[str]) -> None:
        if names - _STATE:
            self.log.warning(
                "Left out of the release: metadata of %s that may not be for students: %s"
                " (see %s.cell_metadata and notebook_metadata)",
                where,
                ", ".join(sorted(names - _STATE)),
                type(self).__name__,
            )


def refers(text: str, name: str) -> bool:
    """Whether a text of Markdown or HTML shows the attachment ``name``."""
    spellings = {name, quote(name), quote(name, safe="")}
    return any(re.search(f"attachment:{re.escape(each)}{_END}", text) for each in spellings)


def _keep(values: dict[str, Any], names: set[str]) -> set[str]:
    """Take out of ``values`` what is not among ``names``; the names of what went."""
    gone = set(values) - names
    for name in gone:
        del values[name]
    return gone
