"""Formgrader's pages of students' work: what a student wrote is shown, and runs nothing.

nbgrader puts a submission's HTML into the instructor's page as it is, so a script in it had the
instructor's rights: the gradebook, the hidden tests, all her files. Two walls, each enough by itself:
markup that can run or disguise is taken away, and the page's policy lets nothing run but the scripts
of nbgrader's own templates, which alone know the page's nonce.
"""

# mypy: disable-error-code="misc, import-not-found, import-untyped"
# Jupyter, nbgrader and what they bring are the image's: they have no types here.
from __future__ import annotations

import base64
import hashlib
import html
import re
import secrets
from pathlib import Path
from typing import Any

import bleach
from bleach.css_sanitizer import CSSSanitizer
from bs4 import BeautifulSoup
from jinja2 import BaseLoader, Environment, pass_context
from nbconvert.exporters import HTMLExporter
from nbgrader.server_extensions.formgrader import apihandlers, handlers
from pygments.token import STANDARD_TYPES

_TABLES = ("caption", "col", "colgroup", "table", "tbody", "td", "tfoot", "th", "thead", "tr")
_BLOCKS = ("dd", "details", "div", "dl", "dt", "figcaption", "figure", "hr", "p", "pre", "summary")
_WORDS = (
    "br",
    "del",
    "img",
    "ins",
    "kbd",
    "mark",
    "q",
    "s",
    "samp",
    "small",
    "span",
    "sub",
    "sup",
    "u",
)
_TAGS = {*bleach.ALLOWED_TAGS, *_TABLES, *_BLOCKS, *_WORDS, "h1", "h2", "h3", "h4", "h5", "h6"}
_ATTRIBUTES = {
    "*": {"align", "style", "title"},
    "a": {"href"},
    "img": {"alt", "height", "src", "width"},
    "col": {"span"},
    "colgroup": {"span"},
    "details": {"open"},
    "ol": {"start"},
    "table": {"border"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan", "scope"},
}
#: Those of highlighted code and of tables: formgrader finds its fields and buttons by other ones.
_CLASSES = {"highlight", "dataframe", *STANDARD_TYPES.values()}
_PROTOCOLS = {"http", "https", "mailto", "data"}
#: What has a text that is not to be read.
_UNREAD = ("script", "style", "template", "noscript", "iframe", "object", "embed", "svg", "math")
#: Colours and widths; nothing that puts one thing above another.
_STYLES = CSSSanitizer(
    allowed_css_properties=[
        "background-color", "color", "font-style", "font-weight", "height", "text-align",
        "text-decoration", "vertical-align", "white-space", "width",
    ]
)  # fmt: skip
_SCRIPT = re.compile(r"<script\b(?P<type> type=\"text/x-mathjax-config\")?")
_ATTRIBUTE = re.compile(r"\bon[a-z]+=\"([^\"]*)\"")


def _allowed(tag: str, name: str, value: str) -> bool:
    if name == "class":
        return set(value.split()) <= _CLASSES
    return name in _ATTRIBUTES["*"] | _ATTRIBUTES.get(tag, set())


def clean(markup: str | bytes) -> str:
    """HTML without anything that runs, leads astray or hides another part of the page."""
    text = markup.decode(errors="replace") if isinstance(markup, bytes) else str(markup)
    if "<" in text:
        soup = BeautifulSoup(text, "html.parser")
        for unread in soup.find_all(_UNREAD):
            unread.decompose()
        text = str(soup)
    return str(bleach.clean(text, _TAGS, _allowed, _PROTOCOLS, strip=True, css_sanitizer=_STYLES))


def _sizes(metadata: Any) -> Any:
    """Widths and heights of pictures alone: nbconvert's templates write others as they are."""
    sizes = type(metadata)()
    for kind, about in metadata.items():
        if isinstance(about, dict):
            numbers = {name: about.get(name) for name in ("width", "height")}
            sizes[kind] = {n: v for n, v in numbers.items() if isinstance(v, int | float)}
    return sizes


class OwnScripts(BaseLoader):
    """Templates whose own scripts know the page's nonce.

    Args:
        loader: where the templates are.
        folders: those of the templates that are meant; others hold no scripts that a page needs.
    """

    def __init__(self, loader: BaseLoader, folders: tuple[Path, ...]) -> None:
        self.loader = loader
        self.folders = folders
        #: What attributes like `onclick` of these templates run.
        self.attributes: set[str] = set()

    def get_source(self, environment: Environment, template: str) -> tuple[str, str | None, Any]:
        source, name, fresh = self.loader.get_source(environment, template)
        path = Path(name or "")
        if path.name == "mathjax.html.j2" or any(path.is_relative_to(f) for f in self.folders):
            self.attributes |= {html.unescape(found) for found in _ATTRIBUTE.findall(source)}
            # MathJax would evaluate its configuration, which the policy does not let it do.
            source = _SCRIPT.sub('<script nonce="{{ nonce() }}"', source)
        return source, name, fresh


class StudentWork(HTMLExporter):
    """nbconvert's exporter for the page of a submission."""

    nonce = ""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sanitize_html = True

    def default_filters(self) -> Any:
        yield from super().default_filters()
        yield "clean_html", clean

    @pass_context
    def markdown2html(self, context: Any, source: str) -> str:
        return clean(super().markdown2html(context, source))

    def _create_environment(self) -> Environment:
        environment: Environment = super()._create_environment()
        assert environment.loader is not None
        self._own = OwnScripts(environment.loader, (Path(handlers.template_path),))
        environment.loader = self._own
        environment.globals["nonce"] = lambda: self.nonce
        return environment

    def from_notebook_node(self, nb: Any, *args: Any, **kwargs: Any) -> tuple[str, dict[str, Any]]:
        """Convert it; the page begins with its policy.

        Raises:
            RuntimeError: the template has no head that could say it.
        """
        self.nonce = secrets.token_urlsafe(16)
        for cell in nb.cells:
            for output in cell.get("outputs", ()):
                if "metadata" in output:
                    output.metadata = _sizes(output.metadata)
        page, resources = super().from_notebook_node(nb, *args, **kwargs)
        before, head, after = page.partition("<head>")
        if not head:
            raise RuntimeError("formgrader's template has no <head>")
        said = html.escape(policy(self.nonce, self._own.attributes))
        meta = f'<meta http-equiv="Content-Security-Policy" content="{said}"/>'
        return f"{before}{head}{meta}{after}", resources


def policy(nonce: str, attributes: set[str]) -> str:
    """What may run: scripts with the nonce, what they load, and these values of `onclick` and the like."""
    digests = (hashlib.sha256(each.encode()).digest() for each in sorted(attributes))
    hashes = "".join(f" 'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"script-src 'nonce-{nonce}' 'strict-dynamic' 'unsafe-hashes'{hashes}; "
        "object-src 'none'; frame-src 'none'; base-uri 'none'; form-action 'none'"
    )


def prepare() -> None:
    """Give answers that hold a student's words an origin of their own: a page among them runs nothing.

    These are the files beside a submission, and formgrader's API, which calls its JSON a page.
    """
    for handler in (handlers.SubmissionFilesHandler, apihandlers.BaseApiHandler):
        handler.content_security_policy = property(_apart)


def _apart(handler: Any) -> str:
    usual: str = super(handlers.BaseHandler, handler).content_security_policy
    # Chromium shows no PDF in a sandbox, and a PDF runs nothing of the page's origin.
    return usual if handler.request.path.endswith(".pdf") else f"{usual}; sandbox"
