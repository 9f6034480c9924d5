"""Feedback as a page of its own, with formulas from this server alone.

nbgrader 0.9's pages load MathJax from outside, and JupyterLab shows them in a frame without scripts. Here
scripts of the page itself do not run (it shows what students and teachers wrote); MathJax's files do.
"""

# mypy: disable-error-code="misc, import-not-found, attr-defined, untyped-decorator"
# Jupyter and nbgrader are the image's: they have no types here.
from __future__ import annotations

import re
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import url_path_join
from tornado import web

#: What nbconvert writes into a page (base/mathjax.html.j2): the address, and settings that it evaluates.
_THEIRS = re.compile(
    r'<script src="https://cdnjs\.cloudflare\.com/ajax/libs/mathjax/.*?</script>'
    r'|<script type="text/x-mathjax-config">.*?</script>',
    re.DOTALL,
)
_HEAD = re.compile(r"<head[^>]*>", re.IGNORECASE)
#: The same settings, as a file that the page may run.
_SETTINGS = """window.MathJax = {
  tex2jax: {
    inlineMath: [['$', '$'], ['\\\\(', '\\\\)']], displayMath: [['$$', '$$'], ['\\\\[', '\\\\]']],
    processEscapes: true, processEnvironments: true
  },
  TeX: {equationNumbers: {autoNumber: 'AMS', useLabelIds: true}},
  displayAlign: 'center', messageStyle: 'none', showMathMenu: false
};
"""


class SettingsHandler(JupyterHandler):
    """MathJax's settings."""

    @web.authenticated
    def get(self) -> None:
        self.set_header("Content-Type", "application/javascript; charset=utf-8")
        self.finish(_SETTINGS)


class FeedbackHandler(JupyterHandler):
    """A page of feedback, or a folder of them."""

    @web.authenticated
    def get(self, path: str) -> None:
        root = Path(self.settings["server_root_dir"]).expanduser()
        where = (root / path.strip("/")).resolve()
        if where.parent.name != "feedback" and where.parent.parent.name != "feedback":
            raise web.HTTPError(404)
        if where.is_dir():
            self._folder(where, path.strip("/"))
        elif where.is_file() and where.suffix == ".html":
            self._page(where)
        else:
            raise web.HTTPError(404, "This feedback is not here any more. Fetch it again.")

    def _folder(self, folder: Path, path: str) -> None:
        pages = sorted(each.name for each in folder.glob("*.html"))
        addresses = [self._address(f"{path}/{name}") for name in pages]
        if len(pages) == 1:
            self.redirect(addresses[0])
            return
        links = (
            f'<li><a href="{escape(address)}">{escape(Path(name).stem)}</a></li>'
            for address, name in zip(addresses, pages)  # noqa: B905  (Python 3.9)
        )
        self._closed()
        self.finish(
            f"<!DOCTYPE html><html lang=en><head><meta charset=utf-8><title>Feedback</title></head>"
            f"<body><h1>Feedback</h1><ul>{''.join(links)}</ul></body></html>"
        )

    def _page(self, file: Path) -> None:
        html = _THEIRS.sub("", file.read_text(encoding="utf-8"))
        mathjax = self.settings.get("mathjax_url", "")
        if mathjax:
            scripts = (
                f'<script src="{self._address("settings.js")}"></script>'
                f'<script src="{escape(mathjax)}?config={self.settings["mathjax_config"]}"></script>'
            )
            html = _HEAD.sub(lambda found: found[0] + scripts, html, count=1)
        self._closed(mathjax.rpartition("/")[0])
        self.finish(html)

    def _address(self, path: str) -> str:
        return str(url_path_join(self.base_url, "courseyard/feedback", quote(path)))

    def _closed(self, mathjax: str = "") -> None:
        """Let no script run but MathJax's; nothing is sent, and nothing is asked of other hosts."""
        here = f"{self.request.protocol}://{self.request.host}"
        scripts = f"{here}{mathjax}/ {here}{self._address('settings.js')}" if mathjax else "'none'"
        rules = {
            "default-src": "'none'",
            "script-src": scripts,
            "style-src": "'self' 'unsafe-inline'",
            "font-src": "'self' data:",
            "img-src": "'self' data:",
            "base-uri": "'none'",
            "form-action": "'none'",
            "frame-ancestors": "'none'",
        }
        policy = "; ".join(f"{name} {value}" for name, value in rules.items())
        self.set_header("Content-Security-Policy", policy)


def prepare(app: Any) -> None:
    """Before the extensions load."""
    address = url_path_join(app.base_url, "courseyard/feedback")
    app.web_app.add_handlers(
        ".*$", [(f"{address}/settings.js", SettingsHandler), (f"{address}/(.+)", FeedbackHandler)]
    )
