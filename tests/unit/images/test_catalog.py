"""The image list: dated releases, and the newest on or before a day."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from courseyard.errors import PlanError, SettingsError
from courseyard.images.catalog import ImageCatalog, load_catalog, parse_wish
from courseyard.images.model import ImageWish
from courseyard.settings import Environment, Site

TEXT = """\
families:
  DEFAULT:
    title: Python
    releases:
      2026-09-01: {path: images/python-2026-09-01, reference: site/python:2026-09}
      2025-08-20:
      2026-01-10: {path: /opt/python}
  R:
    releases:
      2026-01-01: {}
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(folder=tmp_path)


def load(site: Site, text: str = TEXT) -> ImageCatalog:
    (site.folder / "images.yaml").write_text(text)
    return load_catalog(site)


def test_releases(site: Site) -> None:
    releases = load(site).families["DEFAULT"]
    assert [r.released for r in releases] == [
        date(2025, 8, 20),
        date(2026, 1, 10),
        date(2026, 9, 1),
    ]
    assert releases[0].reference == "default:2025-08-20"
    assert releases[0].path is None
    assert releases[1].path == Path("/opt/python")
    assert releases[2].path == site.folder / "images/python-2026-09-01"
    assert releases[2].title == "Python"


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ("DEFAULT", "site/python:2026-09"),
        (["DEFAULT", date(2026, 9, 1)], "site/python:2026-09"),
        (["DEFAULT", date(2026, 8, 31)], "default:2026-01-10"),
        (["DEFAULT", "2026-01-10"], "default:2026-01-10"),
        (["default", "2026-01-10"], "default:2026-01-10"),
        (["DEFAULT", date(2026, 1, 9)], "default:2025-08-20"),
        (["DEFAULT", date(2030, 1, 1)], "site/python:2026-09"),
        ("R", "r:2026-01-01"),
        ("site/python:2026-09", "site/python:2026-09"),
        ("registry.example.org:5000/a/b@sha256:" + "0" * 64, None),
    ],
)
def test_resolve(site: Site, wish: Any, expected: str | None) -> None:
    release = load(site).resolve(parse_wish(wish))
    assert release.reference == (expected or wish)
    assert bool(release.family) == (expected is not None)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (ImageWish(family="DEFUALT"), "did you mean DEFAULT?"),
        (ImageWish(family="X"), "listed are DEFAULT, R"),
        (ImageWish(family="R", released_by=date(2025, 1, 1)), "its first is of 2026-01-01"),
        (ImageWish(), "lists no image"),
    ],
)
def test_no_such_image(site: Site, wish: ImageWish, message: str) -> None:
    with pytest.raises(PlanError, match=message.replace("?", r"\?")):
        load(site).resolve(wish)


@pytest.mark.parametrize(
    "value",
    [
        *([], ["DEFAULT"], ["DEFAULT", None], ["dé", date(2026, 1, 1)], 5, True, None, {}),
        *("", " ", "a b", "a;b", "-a", "../a", "A" * 50, "a:b:c", ["DEFAULT", "soon"], "a\nb"),
        ["DEFAULT", datetime(2026, 1, 1)],
    ],
)
def test_no_wish(value: Any) -> None:
    with pytest.raises(ValueError, match=r"not an image|not a day"):
        parse_wish(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", "images.yaml:1: is a list"),
        ("x: 1", "images.yaml:1: families: is missing or empty; write `families:`"),
        ("familys: {}", "images.yaml:1: familys: unknown key; did you mean families?"),
        ("families: {}", "lists no image"),
        ("families: {de-fault: {releases: {2026-01-01: }}}", "letters, digits and _"),
        (
            "families:\n  A: {releases: {2026-01-01: }}\n  a: {releases: {2026-01-01: }}",
            "images.yaml:3: families.a: A stands twice",
        ),
        ("families: {A: {}}", "images.yaml:1: families.A.releases: is missing or empty"),
        ("families: {A: {releases: {soon: {}}}}", "'soon' is not a day"),
        ("families: {A: {releases: {2026-02-30: {}}}}", "'2026-02-30' is not a day"),
        ("families: {A: {releases: {2026-01-01: python}}}", "must hold `key: value` lines"),
        ("families: {A: {releases: {2026-01-01: {pth: x}}}}", "did you mean path?"),
        ("families: {A: {releases: {2026-01-01: {path: 7}}}}", "must be the image's folder"),
        ("families: {A: {releases: {2026-01-01: {reference: 'a b'}}}}", "not an image reference"),
        ("families: {A: {title: 5, releases: {2026-01-01: }}}", "must be one line"),
    ],
)
def test_problems(site: Site, text: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(site, text)
    assert message in str(caught.value)
    assert caught.value.problems


def test_no_list(site: Site) -> None:
    with pytest.raises(SettingsError, match=r"no image list images\.yaml"):
        load_catalog(site)


def test_environments_need_an_image(site: Site) -> None:
    site = site.model_copy(
        update={"environments": {"julia": Environment(name="Julia", image="JULIA")}}
    )
    with pytest.raises(SettingsError, match=r"environments.julia.image"):
        load(site)


def test_the_list_may_write_a_family_in_any_case(site: Site) -> None:
    catalog = load(
        site,
        "families: {Standard: {releases: {2026-01-05: }}, default: {releases: {2026-01-05: }}}\n",
    )
    wish = parse_wish(["standard", date(2026, 1, 5)])
    assert catalog.resolve(wish).reference == "standard:2026-01-05"
    assert catalog.resolve(parse_wish("STANDARD")).title == "Standard"
    assert parse_wish("standard").reference == "standard"  # bare small letters are a reference
