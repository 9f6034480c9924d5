"""Pages of this server show its `_xsrf` with each WebSocket that they open.

All servers share one origin, and a browser sends a server's cookie with every WebSocket to it, also with
one that a page of another person's server opens; `Origin` tells nothing. Only a page of this server can
read its `_xsrf`, so the server asks for it (hubauth.py). Jupyter's pages send it with their requests and
leave it out of their WebSockets. A script in the head of each page adds it, before any other runs.
"""

# mypy: disable-error-code="misc"
# Jupyter is the image's: it has no types here.
from __future__ import annotations

import json
from typing import Any

from tornado.web import OutputTransform

#: What every page of Jupyter's has, and no other.
_PAGE = b'id="jupyter-config-data"'
_HEAD = b"<head>"
_SCRIPT = """<script>(root => {
  const marked = address => {
    const url = new URL(address, location.href);
    const token = document.cookie.match(/(?:^|; *)_xsrf=([^;]*)/);
    if (token && url.host === location.host && url.pathname.startsWith(root)) {
      url.searchParams.set("_xsrf", token[1]);
    }
    return url.href;
  };
  window.WebSocket = class extends window.WebSocket {
    constructor(address, ...rest) {
      super(marked(address), ...rest);
    }
  };
})(%s)</script>"""


class Marking(OutputTransform):
    """Puts the script into a page; ``base_url`` is where this server's addresses begin."""

    def __init__(self, request: Any, base_url: str) -> None:
        super().__init__(request)
        self._script = (_SCRIPT % json.dumps(base_url).replace("<", "\\u003c")).encode()

    def transform_first_chunk(
        self, status_code: int, headers: Any, chunk: bytes, finishing: bool
    ) -> Any:
        """tornado calls it with the whole of a page."""
        kind = headers.get("Content-Type", "")
        if finishing and kind.startswith("text/html") and _PAGE in chunk:
            chunk = chunk.replace(_HEAD, _HEAD + self._script, 1)
            if "Content-Length" in headers:
                headers["Content-Length"] = str(len(chunk))
        return status_code, headers, chunk
