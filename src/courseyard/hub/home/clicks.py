"""Whether a request is somebody's click, as far as the browser tells."""

from __future__ import annotations

from tornado.httputil import HTTPHeaders

from courseyard.settings import Site


def is_click(headers: HTTPHeaders, site: Site) -> bool:
    """Whether a GET comes from a person's click or typing rather than from another page's script.

    A link can only start one of the person's own servers, within their own limit; still no page
    may do that unseen. Browsers say who asks (W3C Fetch Metadata): an image, a frame or a script
    is no navigation of the whole page, and a navigation from another site that nobody clicked
    lacks ``Sec-Fetch-User``. Those are shown a button instead. Where people have hosts of their own,
    these are of the same site as the hub, and no nearer to it than others. Without the headers (old
    browsers, plain HTTP by name) the link works, because course pages must be able to link here.
    """
    asker = headers.get("Sec-Fetch-Site")
    if asker is None:
        return True
    if headers.get("Sec-Fetch-Mode") != "navigate" or headers.get("Sec-Fetch-Dest") != "document":
        return False
    ours = ("same-origin", "none") if site.hub.subdomains else ("same-origin", "same-site", "none")
    return asker in ours or headers.get("Sec-Fetch-User") == "?1"
