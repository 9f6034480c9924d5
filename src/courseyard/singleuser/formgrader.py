"""nbgrader 0.9's formgrader as a page of its own under a hub and offline, with reasons when it refuses."""

# mypy: disable-error-code="misc, import-not-found, attr-defined, untyped-decorator"
# Jupyter and nbgrader are the image's: they have no types here.
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import url_path_join
from nbgrader.apps import api
from nbgrader.server_extensions.formgrader import apihandlers, handlers
from tornado import web

from . import students, studentwork
from .courseyard_nbgrader import duedates, names, times

#: What nbconvert's macro writes when it is called without an address (base/mathjax.html.j2);
#: nbgrader's template calls it so, whatever ``HTMLExporter.mathjax_url`` says.
_PUBLIC_MATHJAX = "https://cdnjs.cloudflare.com/ajax/libs/mathjax/"

#: Formgrader waits for MathJax before its keyboard works; this stands in where there is none.
_NO_MATHJAX = """
window.MathJax = window.MathJax || {Hub: {
  Config: () => {}, Queue: () => {}, Typeset: () => {},
  Startup: {signal: {Interest: call => window.addEventListener("load", () => call("End"))}}
}};
"""

#: For every page; read now, because an upgrade of the site takes the files from a running server.
_PAGES = Path(__file__).with_name("formgrader.js").read_text(encoding="utf-8")


class UtilsHandler(JupyterHandler):
    """nbgrader's ``utils.js`` with what :file:`formgrader.js` adds."""

    def initialize(self, folders: str) -> None:
        self.folders = folders

    @web.authenticated
    def get(self) -> None:
        text = Path(handlers.static_path, "js", "utils.js").read_text(encoding="utf-8")
        self.set_header("Content-Type", "application/javascript; charset=utf-8")
        about = {"folders": self.folders, "zone": times.SITE}
        self.finish("\n".join([text, f"var courseyard = {json.dumps(about)};", _PAGES]))


#: The two fields of a due date, in the order in which they are read.
_WRITTEN = ("notimezone", "timezone")


class AssignmentHandler(apihandlers.AssignmentHandler):
    """Makes an assignment, or says why not."""

    @web.authenticated
    def put(self, assignment_id: str) -> None:
        name = assignment_id.strip()
        objection = names.objection(name, self.coursedir.ignore)
        try:
            written = self.get_json_body()["duedate_notimezone"]
            due = times.due(written) if written else None
        except ValueError as error:
            objection = objection or str(error)
        if objection:
            self.set_status(400)
            self.finish({"message": objection})
            return
        super().put(assignment_id)
        released = Path(self.api.exchange_root, self.coursedir.course_id, "outbound", name)
        if released.is_dir():
            duedates.write(released, due)

    def get_json_body(self) -> Any:
        body = super().get_json_body() or {}
        written = " ".join(filter(None, (body.get(f"duedate_{each}") for each in _WRITTEN)))
        date = written if body.get("duedate_notimezone") else None
        return {"duedate_notimezone": date, "duedate_timezone": None}


class GenerateHandler(apihandlers.AssignHandler):
    """*Generate*; nbgrader's own answers 500 for a name that it cannot use."""

    @web.authenticated
    def post(self, assignment_id: str) -> None:
        objection = names.objection(assignment_id, self.coursedir.ignore)
        if objection:
            # As text, which nbgrader's page takes apart itself.
            self.finish(json.dumps({"success": False, "log": f"Not generated: {objection}"}))
        else:
            super().post(assignment_id)


class LocalMathJax(studentwork.StudentWork):
    """Pages of students' work that ask no other host for MathJax."""

    def __init__(self, mathjax: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mathjax = mathjax

    def from_notebook_node(self, *args: Any, **kwargs: Any) -> tuple[str, dict[str, Any]]:
        html, resources = super().from_notebook_node(*args, **kwargs)
        return localise(html, self.mathjax, self.nonce), resources


def localise(html: str, mathjax: str, nonce: str) -> str:
    """``html`` with its first public MathJax script replaced by ``mathjax``, or by a stand-in.

    Args:
        html: a page of :class:`~courseyard.singleuser.studentwork.StudentWork`.
        mathjax: the address of MathJax here; empty where there is none.
        nonce: what the page's scripts show to run.
    """
    begin = f'<script nonce="{nonce}"'
    start = html.find(f'{begin} src="{_PUBLIC_MATHJAX}')
    end = html.find("</script>", start)
    if start < 0 or end < 0:
        return html
    script = f'{begin} src="{mathjax}">' if mathjax else f"{begin}>{_NO_MATHJAX}"
    return html[:start] + script + html[end:]


def prepare(app: Any) -> None:
    """Before the extensions load: the first handler of an address answers."""
    studentwork.prepare()
    # Both would write an offset, which is another one in summer.
    api.to_numeric_tz = handlers.to_numeric_tz = lambda zone: times.SITE
    api.as_timezone = times.local
    folders = "/lab/tree" if "/lab" in app.default_url else "/tree"
    address = url_path_join(app.base_url, "formgrader")
    assignment = rf"{address}/api/assignment/([^/]+)"
    ours = [
        (f"{address}/static/js/utils.js", UtilsHandler, {"folders": folders}),
        (assignment, AssignmentHandler),
        (f"{assignment}/assign", GenerateHandler),
        *((f"{address}/api/{path}", handler) for path, handler in students.HANDLERS),
    ]
    app.web_app.add_handlers(".*$", ours)


def mend(app: Any) -> None:
    """After the extensions are loaded."""
    settings = app.web_app.settings
    exporter = settings.get("nbgrader_exporter")
    if exporter is None:
        return
    mathjax = settings.get("mathjax_url", "")
    if mathjax:
        mathjax = f"{mathjax}?config={settings['mathjax_config']}"
    settings["nbgrader_exporter"] = LocalMathJax(mathjax, config=exporter.config)
