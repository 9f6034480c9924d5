"""All courses of a site at once: what stands in one course's way costs that course."""

from __future__ import annotations

from pathlib import Path

import pytest

from courseyard.errors import StorageError
from courseyard.registry.course import Course
from courseyard.settings import Site
from courseyard.storage import layout
from courseyard.storage.courses import Made, make


@pytest.fixture
def site(tmp_path: Path) -> Site:
    seeds = tmp_path / "course" / "algo" / "files" / "source" / "week1"
    seeds.mkdir(parents=True)
    (seeds / "sorting.ipynb").write_text("{}")
    return Site(folder=tmp_path)


COURSES = {
    slug: Course(slug=slug, name=slug, uid=gid, gid=gid)
    for slug, gid in (("algo", 30001), ("ml2027", 30002), ("zoo", 30003))
}


def told(made: Made, site: Site) -> list[str]:
    return [str(refusal.problem(site.storage_root)) for refusal in made.refusals.values()]


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_link_in_the_exchange_costs_its_course(site: Site, dry_run: bool) -> None:
    """As a teacher's ``mv ml2027 ml-old && ln -s ml-old ml2027`` leaves it."""
    top = site.storage_root / "exchange" / "ml2027"
    (top / "ml-old").mkdir(parents=True)
    (top / "ml2027").symlink_to("ml-old")
    made = make(site, COURSES, dry_run=dry_run)
    assert told(made, site) == [
        f"{top}/ml2027: is a link or not a folder, so the folders of the course ml2027 are not "
        "made or mended; put a real folder there and run `courseyard storage apply`"
    ]
    for slug in ("algo", "zoo"):
        assert f"exchange/{slug}/{slug}/inbound: make folder" in "\n".join(made.lines())
        assert (site.storage_root / layout.exchange(slug) / slug).exists() is not dry_run


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_link_where_first_files_would_go_costs_its_course(site: Site, dry_run: bool) -> None:
    make(site, {"algo": COURSES["algo"]})
    files = site.storage_root / "course" / "algo" / "files"
    (files / "source").rename(files / "src2")
    (files / "source").symlink_to("src2")
    made = make(site, COURSES, dry_run=dry_run)
    (text,) = told(made, site)
    assert text.startswith(f"{files}/source: is a link or not a folder")
    assert "the course algo " in text
    assert (site.storage_root / "course" / "zoo" / "files").exists() is not dry_run


def test_what_two_courses_need_is_told_once(site: Site) -> None:
    site.storage_root.mkdir()
    (site.storage_root / "exchange").write_text("")
    (text,) = told(make(site, COURSES), site)
    assert text.startswith(f"{site.storage_root}/exchange: is not a folder")
    assert "algo (and 2 more)" in text


def test_a_storage_root_that_is_none_is_the_whole_sites(site: Site) -> None:
    site.storage_root.write_text("")
    with pytest.raises((StorageError, FileExistsError)):
        make(site, COURSES)


def test_a_dry_run_says_what_a_run_does(site: Site) -> None:
    said = list(make(site, COURSES, dry_run=True).lines())
    assert not site.storage_root.exists()
    assert said == list(make(site, COURSES).lines())
    assert "course/algo: 1 first file" in said
    assert list(make(site, COURSES).lines()) == []


def test_a_folder_of_users_is_no_content_of_the_course(site: Site) -> None:
    (site.folder / "course" / "algo" / "data").mkdir()
    (site.folder / "course" / "algo" / "data" / "set.csv").write_text("1\n")
    more = {"datadir": True, "datadir_readwrite": True}
    made = make(site, {"algo": COURSES["algo"].model_copy(update=more)})
    data = site.storage_root / "course" / "algo" / "data"
    assert sorted(path.name for path in data.iterdir()) == ["set.csv", "users"]
    assert made.copied == {"algo": 2}


def test_first_files_that_cannot_be_written_cost_their_course(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "sorting.ipynb")

    monkeypatch.setattr("shutil.copyfileobj", full)
    (text,) = told(make(site, COURSES), site)
    assert "sorting.ipynb: No space left on device" in text
    assert (site.storage_root / "course" / "zoo" / "files").is_dir()
