"""nbgrader 0.9's formgrader as a page of its own under a hub and offline, with reasons when it refuses."""

# mypy: disable-error-code="misc, import-not-found, attr-defined, untyped-decorator"
# Jupyter and nbgrader are the image's: they have no types here.
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import url_path_join
from nbgrader.server_extensions.formgrader import apihandlers, handlers
from tornado import web

from . import studentwork
from .courseyard_nbgrader import names

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

#: In a tab of its own, links to folders lacked the server's prefix (static/js/utils.js, linkTo).
_LINKS = """
var linkTo = function (type, path) {
    var page = {notebook: "/notebooks/", file: "/edit/", directory: "%s/"}[type];
    return (_, element) => $(element).attr("href", base_url + page + path).attr("target", "_blank")[0];
};
"""


#: What was not saved says why, and the page shows what is there (Backbone is nbgrader's).
_REASONS = """
(sync => Backbone.sync = (method, model, options) => {
  const failed = options.error;
  return sync(method, model, {...options, error: (answer, ...rest) => {
    if (failed) failed(answer, ...rest);
    if (method === "read") return;
    const reason = answer.responseJSON?.message || "The server does not answer. Try again.";
    createModal("error-modal", "Not saved", $("<p/>").text(reason))
      .on("hidden.bs.modal", () => location.reload());
  }});
})(Backbone.sync);
"""


class UtilsHandler(JupyterHandler):
    """nbgrader's ``utils.js`` with links that work below the prefix of a user's server."""

    def initialize(self, folders: str) -> None:
        self.folders = folders

    @web.authenticated
    def get(self) -> None:
        text = Path(handlers.static_path, "js", "utils.js").read_text(encoding="utf-8")
        self.set_header("Content-Type", "application/javascript; charset=utf-8")
        self.finish(text + _LINKS % self.folders + _REASONS)


class AssignmentHandler(apihandlers.AssignmentHandler):
    """Makes an assignment, or says why not."""

    @web.authenticated
    def put(self, assignment_id: str) -> None:
        objection = names.objection(assignment_id.strip(), self.coursedir.ignore)
        if objection:
            self.set_status(400)
            self.finish({"message": objection})
        else:
            super().put(assignment_id)


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
    folders = "/lab/tree" if "/lab" in app.default_url else "/tree"
    address = url_path_join(app.base_url, "formgrader")
    assignment = rf"{address}/api/assignment/([^/]+)"
    ours = [
        (f"{address}/static/js/utils.js", UtilsHandler, {"folders": folders}),
        (assignment, AssignmentHandler),
        (f"{assignment}/assign", GenerateHandler),
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
