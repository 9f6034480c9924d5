"""Links into a server stay in that server, whatever they ask for."""

from __future__ import annotations

import re
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courseyard.hub.home import links

SITE = "https://hub.example"
SERVER = "/user/maija/algo2026/"
PIECES = ["/", "//", "\\", "..", ".", "%2e", "%2F", "%5c", "%25", "lab", "tree", "user", "otso", "hub", "maija",
          "algo2026", "user-redirect", "https:", "evil.example", "@", "?", "#", "&", " ", "\t", "\n", "\x00", "é",
          "a b.ipynb", "redirects=1", ";", ":"]  # fmt: skip
TEXTS = st.one_of(
    st.text(max_size=40),
    st.lists(st.sampled_from(PIECES), max_size=8).map("".join),
    st.lists(st.sampled_from(PIECES), max_size=6).map(lambda parts: SERVER + "".join(parts)),
)


def seen(address: str) -> str:
    """Where a browser goes: `\\` is `/`, tabs and line ends vanish, encoded dots are dots (whatwg url)."""
    typed = re.sub(r"[\t\r\n]", "", address).replace("\\", "/")
    path, mark, rest = typed.partition("?")
    return urljoin(SITE, re.sub("%2e", ".", path, flags=re.IGNORECASE) + mark + rest)


@given(TEXTS, st.booleans(), st.sampled_from(["/", "/jupyter/"]))
def test_no_wish_leaves_the_server(text: str, path: bool, base: str) -> None:
    server = base + SERVER[1:]
    try:
        if path:
            found = links.to_file(text, classic=False)
        else:
            found = links.wished(text, base=base, server=server, target="algo2026")
    except links.BadLinkError:
        return
    address = seen(server + found)
    parts = urlsplit(address)
    assert parts.netloc == "hub.example"
    # And not after the proxy or the server has decoded it once or twice more.
    assert unquote(unquote(parts.path)).startswith(server)
    assert ".." not in unquote(unquote(parts.path)).split("/")
    assert found.isascii()
    assert found.isprintable()


@given(st.text(st.characters(codec="utf-8", exclude_characters="/\\"), min_size=1, max_size=30))
def test_every_plain_name_can_be_linked(name: str) -> None:
    try:
        found = links.to_file(f"notebooks/{name}", classic=False)
    except links.BadLinkError:
        assert re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]|%|^\s*\.\.?\s*$", name)
        return
    assert unquote(found) == f"lab/tree/notebooks/{name}"
    assert "?" not in found
    assert "#" not in found


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("100%.ipynb", "lab/tree/notebooks/100%25.ipynb"),
        ("C#?.ipynb", "lab/tree/notebooks/C%23%3F.ipynb"),
        ("a..b.ipynb", "lab/tree/notebooks/a..b.ipynb"),
    ],
)
def test_names_with_marks(name: str, found: str) -> None:
    assert links.to_file(f"notebooks/{name}", classic=False) == found
