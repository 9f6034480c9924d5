"""The folder of course files over time: what is in force, what is stale, what is told."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from courseyard.images.catalog import ImageCatalog, load_catalog
from courseyard.registry.lifecycle import State, state
from courseyard.registry.load import Loader, Snapshot
from courseyard.registry.watch import Registry
from courseyard.settings import Site

IMAGES = "families: {DEFAULT: {releases: {2026-01-01: {}}}, R: {releases: {2026-02-01: {}}}}\n"
NOW = datetime(2026, 6, 1, tzinfo=UTC)


class Folder:
    """A site's folder of course files, and the registry that reads it."""

    def __init__(self, path: Path) -> None:
        (path / "courses").mkdir()
        (path / "images.yaml").write_text(IMAGES)
        self.site = Site(folder=path, timezone="Europe/Helsinki")
        self.registry = Registry(self.site, self.catalog)

    @property
    def catalog(self) -> ImageCatalog:
        return load_catalog(self.site)

    def write(self, slug: str, text: str) -> Path:
        path = self.site.courses_dir / f"{slug}.yaml"
        path.write_text(text)
        return path

    def look(self) -> Snapshot:
        return self.registry.refresh()

    def errors(self) -> list[str]:
        return [str(p).split("courses/")[-1] for p in self.look().problems if p.is_error]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    yield Folder(tmp_path)


def test_one_broken_file_costs_that_course_only(folder: Folder) -> None:
    folder.write("good", "name: Good\n")
    folder.write("bad", "name: [\n")
    assert set(folder.look().courses) == {"good"}
    assert len(folder.errors()) == 1


def test_the_last_good_version_stays_and_is_stale(folder: Folder) -> None:
    folder.write("algo", "name: Algorithms\n")
    assert not folder.look().stale
    folder.write("algo", "name: Algorithms 2\nprivat: true\n")
    before = datetime.now(UTC)
    snapshot = folder.look()
    assert snapshot.courses["algo"].name == "Algorithms"
    stale = snapshot.stale["algo"]
    assert before - timedelta(seconds=5) < stale.since <= datetime.now(UTC)
    assert "did you mean private?" in stale.problems[0].message
    # Another broken version: broken since the first one.
    folder.write("algo", "name: [\n")
    assert folder.look().stale["algo"].since == stale.since
    folder.write("algo", "name: Algorithms 3\n")
    assert folder.look().courses["algo"].name == "Algorithms 3"
    assert not folder.look().stale
    assert not folder.look().problems


def test_a_half_written_file_leaves_the_last_good(folder: Folder) -> None:
    path = folder.write("algo", "name: Algorithms\n")
    folder.look()
    path.write_text("")
    assert folder.look().courses["algo"].name == "Algorithms"
    path.write_text('name: "Algor')
    assert folder.look().courses["algo"].name == "Algorithms"


def test_a_deleted_file_is_a_course_gone(folder: Folder) -> None:
    path = folder.write("algo", "name: Algorithms\nstudents: [maija]\n")
    assert folder.look().of_person("maija")
    path.unlink()
    snapshot = folder.look()
    assert not snapshot.courses
    assert not snapshot.of_person("maija")
    assert not snapshot.search("algo", 5)
    assert not snapshot.public(NOW)
    # What was good once is forgotten with the file.
    folder.write("algo", "name: [\n")
    assert not folder.look().courses


def test_snapshots_do_not_change(folder: Folder) -> None:
    folder.write("algo", "name: Algorithms\nstudents: [maija]\n")
    first = folder.look()
    folder.write("algo", "name: Other\nstudents: [pekka]\n")
    folder.write("new", "name: New\n")
    second = folder.look()
    assert set(first.courses) == {"algo"}
    assert [c.name for c in first.of_person("maija")] == ["Algorithms"]
    assert not second.of_person("maija")
    assert [c.name for c in second.of_person("pekka")] == ["Other"]
    assert folder.look() is second  # nothing changed
    with pytest.raises(TypeError):
        first.courses["x"] = first.courses["algo"]  # type: ignore[index]


def test_users_files_are_merged(folder: Folder) -> None:
    folder.write("algo", "name: A\ngid: 5000\ninstructors: [ada]\nstudents: [maija]\n")
    folder.write("algo-users", "instructors: [bo]\nstudents: [pekka]\n")
    course = folder.look().courses["algo"]
    assert course.instructors == {"ada", "bo"}
    assert course.students == {"maija", "pekka"}
    assert course.complete
    folder.write("algo-users", "instructors: []\n")
    assert folder.look().courses["algo"].instructors == {"ada"}
    (folder.site.courses_dir / "algo-users.yaml").unlink()
    assert folder.look().courses["algo"].students == {"maija"}


def test_a_broken_users_file_costs_itself_alone(folder: Folder) -> None:
    folder.write("algo", "name: A\nstudents: [maija]\n")
    folder.write("algo-users", "students: [pekka\n")
    snapshot = folder.look()
    assert snapshot.courses["algo"].students == {"maija"}
    assert not snapshot.courses["algo"].complete
    assert snapshot.stale["algo"].problems[0].file.name == "algo-users.yaml"
    folder.write("algo-users", "students: [pekka]\n")
    assert folder.look().courses["algo"].complete
    folder.write("algo-users", "students: 7\n")
    snapshot = folder.look()
    assert snapshot.courses["algo"].students == {"maija", "pekka"}  # its last good version
    assert "algo" in snapshot.stale
    # The course file itself still changes.
    folder.write("algo", "name: B\n")
    assert folder.look().courses["algo"].name == "B"


def test_too_many_people_in_both_files(folder: Folder) -> None:
    names = [f"s{i}" for i in range(3000)]
    folder.write("algo", f"name: A\nstudents: [{', '.join(names)}]\n")
    folder.write("algo-users", f"students: [{', '.join('x' + n for n in names)}]\n")
    snapshot = folder.look()
    assert len(snapshot.courses["algo"].students) == 3000
    assert not snapshot.courses["algo"].complete
    assert "more than 5000 people" in folder.errors()[0]


def test_coursedir_slug_follows_the_files(folder: Folder) -> None:
    folder.write("gpu", "name: G\ngid: 5000\ncoursedir_slug: algo\n")
    assert not folder.look().courses
    assert "there is no course algo" in folder.errors()[0]
    folder.write("algo", "name: A\ngid: 5000\n")
    snapshot = folder.look()
    assert snapshot.courses["gpu"].directory_slug == "algo"
    assert not snapshot.problems
    # A chain ends where the directories are.
    folder.write("gpu2", "name: G2\ngid: 5000\ncoursedir_slug: gpu\n")
    assert folder.look().courses["gpu2"].directory_slug == "algo"
    # A target that breaks costs itself alone; one that goes is an error of those that say it.
    folder.write("algo", "name: [\n")
    assert set(folder.look().courses) == {"algo", "gpu", "gpu2"}
    (folder.site.courses_dir / "algo.yaml").unlink()
    snapshot = folder.look()
    assert snapshot.courses["gpu"].directory_slug == "algo"
    assert set(snapshot.stale) == {"gpu"}


def test_a_circle_is_an_error_of_each_that_says_it(folder: Folder) -> None:
    folder.write("a", "name: A\ngid: 5000\n")
    folder.write("b", "name: B\ngid: 5000\ncoursedir_slug: a\n")
    assert len(folder.look().courses) == 2
    folder.write("a", "name: A2\ngid: 5000\ncoursedir_slug: b\n")
    snapshot = folder.look()
    assert snapshot.courses["a"].name == "A"
    assert {p.split(":")[0] for p in folder.errors()} == {"a.yaml", "b.yaml"}


def test_dates_use_the_sites_zone(folder: Folder) -> None:
    folder.write(
        "algo",
        "name: A\npublic_date: 2026-09-01\nprivate_date: 2026-12-01 12:00:00\n"
        "archive_date: 2027-01-01T00:00:00Z\n",
    )
    course = folder.look().courses["algo"]
    assert course.public_date is not None
    assert course.public_date.isoformat() == "2026-09-01T00:00:00+03:00"
    assert course.private_date is not None
    assert course.private_date.isoformat() == "2026-12-01T12:00:00+02:00"
    assert course.archive_date is not None
    assert course.archive_date.isoformat() == "2027-01-01T02:00:00+02:00"


def test_public_follows_the_clock(folder: Folder) -> None:
    folder.write("b-soon", "name: Later\npublic_date: 2026-07-01\nprivate_date: 2026-08-01\n")
    folder.write("always", "name: Öppen\n")
    folder.write("hidden", "name: Hidden\nprivate: true\n")
    snapshot = folder.look()

    def public(day: str) -> list[str]:
        return [c.slug for c in snapshot.public(datetime.fromisoformat(f"{day}T12:00+03:00"))]

    assert public("2026-06-01") == ["always"]
    assert public("2026-07-01") == ["b-soon", "always"]  # by title
    assert public("2026-09-01") == ["always"]
    assert public("2026-07-15") == ["b-soon", "always"]  # and back
    first = snapshot.public(NOW)
    assert snapshot.public(NOW + timedelta(hours=1)) is first  # kept


def test_public_is_right_after_many_changes(folder: Folder) -> None:
    """The derived list is the one that a fresh start would make."""
    for round_ in range(6):
        for n in range(40):
            if (n + round_) % 3 == 0:
                flag = "true" if (n * round_) % 2 else "false"
                default = "true" if n % 7 == round_ else "false"
                text = f"name: Course {(n * 13 + round_) % 40}\nprivate: {flag}\n"
                folder.write(
                    f"c{n}",
                    f"{text}default: {default}\nstudents: [s{n % 5 + round_}]\n"
                    f"instructors: [i{n % 3 + round_}]\n",
                )
        if round_ == 3:
            for n in range(0, 40, 4):
                (folder.site.courses_dir / f"c{n}.yaml").unlink(missing_ok=True)
        snapshot = folder.look()
        fresh = Loader(folder.site, folder.catalog).refresh()
        now = datetime.now(UTC)
        assert snapshot.public(now) == fresh.public(now)
        assert snapshot.defaults == fresh.defaults
        assert dict(snapshot.courses) == dict(fresh.courses)
        assert snapshot.search("course 1", 100) == fresh.search("course 1", 100)
        for n in range(12):
            found = {c.slug for c in snapshot.of_person(f"s{n}")}
            assert found == {c.slug for c in fresh.of_person(f"s{n}")}
            found = {c.slug for c in snapshot.of_instructor(f"i{n}")}
            assert found == {c.slug for c in snapshot.courses.values() if f"i{n}" in c.instructors}


def test_search(folder: Folder) -> None:
    folder.write("algo", "name: Data Structures and Algorithms\n")
    folder.write("maths", "name: Mätopeli ja Algoritmit\n")
    folder.write("x1", "name: Nothing of it\nprivate: true\n")
    snapshot = folder.look()

    def found(text: str, limit: int = 50) -> list[str]:
        return [c.slug for c in snapshot.search(text, limit)]

    assert found("algo") == ["algo", "maths"]
    assert found("ALGO data") == ["algo"]
    assert found("matopeli") == ["maths"]
    assert found("mätopeli") == ["maths"]
    assert found("x1") == ["x1"]
    assert found("algo", 1) == ["algo"]
    assert found("  ") == []
    assert found("algorithms mätopeli") == []
    assert found("a") == ["algo", "maths"]
    assert found("(") == []


def test_people_are_found_in_every_role(folder: Folder) -> None:
    folder.write("c", "name: C\nmanager: [mia]\nsupervisor: Sam.Smith@Example.org\ncontact: kim\n")
    snapshot = folder.look()
    assert [c.slug for c in snapshot.of_person("mia")] == ["c"]
    assert [c.slug for c in snapshot.of_person("sam.smith@example.org")] == ["c"]
    assert not snapshot.of_person("kim")


def test_trap_2_one_flag_archives_everywhere(folder: Folder) -> None:
    folder.write("old", "name: Old\narchive: true\n")
    folder.write("typo", "name: Typo\narchived: true\n")
    snapshot = folder.look()
    assert state(snapshot.courses["old"], NOW, folder.site.tz) is State.ARCHIVED
    assert "old" not in {c.slug for c in snapshot.public(NOW)}
    assert "typo" not in snapshot.courses
    assert folder.errors() == ["typo.yaml:2: archived: unknown key; did you mean archive?"]


def test_trap_4_an_unknown_family_costs_that_course_alone(folder: Folder) -> None:
    folder.write("good", "name: Good\nimage: [DEFAULT, 2026-05-01]\n")
    folder.write("bad", "name: Bad\nimage: [MATLAB, 2026-05-01]\n")
    assert [c.slug for c in folder.look().public(NOW)] == ["good"]
    assert folder.errors() == [
        "bad.yaml:2: image: the site lists no image 'MATLAB'; listed are DEFAULT, R"
    ]


def test_trap_9_titles_are_plain_text(folder: Folder) -> None:
    folder.write("a", "name: '<script>alert(1)</script>'\n")
    folder.write("b", 'name: "line\\nbreak"\n')
    folder.write("c", 'name: "\\u202edesrever"\n')
    snapshot = folder.look()
    assert snapshot.courses["a"].name == "<script>alert(1)</script>"  # letters, for pages to escape
    assert set(snapshot.courses) == {"a"}


def test_a_changed_list_of_images_is_used(folder: Folder) -> None:
    folder.write("c", "name: C\nimage: JULIA\n")
    assert not folder.look().courses
    (folder.site.folder / "images.yaml").write_text(IMAGES.replace("R:", "JULIA:"))
    assert set(folder.registry.use(folder.catalog).courses) == {"c"}
    (folder.site.folder / "images.yaml").write_text(IMAGES)
    snapshot = folder.registry.use(folder.catalog)
    assert set(snapshot.courses) == {"c"}
    assert set(snapshot.stale) == {"c"}


def test_hostile_files(folder: Folder) -> None:
    courses = folder.site.courses_dir
    folder.write("good", "name: Good\n")
    os.mkfifo(courses / "fifo.yaml")
    (courses / "loop.yaml").symlink_to("loop.yaml")
    (courses / "device.yaml").symlink_to("/dev/zero")
    (courses / "dangling.yaml").symlink_to("nowhere")
    (courses / "folder.yaml").mkdir()
    with (courses / "large.yaml").open("wb") as large:
        large.truncate(100 * 1024 * 1024)
    start = time.monotonic()
    snapshot = folder.look()
    assert time.monotonic() - start < 1
    assert set(snapshot.courses) == {"good"}
    assert {p.split(":")[0]: p.split(": ")[-1] for p in folder.errors()} == {
        "fifo.yaml": "is not a regular file",
        "device.yaml": "leads out of its folder by a link, so it is not read; put the file itself here",
        "folder.yaml": "is not a regular file",
        "loop.yaml": "is a link in a circle",
        "large.yaml": "is larger than 1 MiB; such files hold settings, not data",
    }


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file(folder: Folder) -> None:
    folder.write("c", "name: C\n").chmod(0)
    assert folder.errors() == ["c.yaml: cannot be opened: permission denied"]


def test_the_folder_goes_away_and_comes_back(folder: Folder) -> None:
    folder.write("c", "name: C\n")
    folder.look()
    courses = folder.site.courses_dir
    courses.rename(courses.with_name("away"))
    snapshot = folder.look()
    assert set(snapshot.courses) == {"c"}  # storage that does not answer archives nothing
    assert "folder of courses cannot be read" in snapshot.problems[0].message
    courses.with_name("away").rename(courses)
    assert not folder.look().problems


def test_a_file_that_vanishes_in_mid_read(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder.write("c", "name: C\n")
    folder.write("d", "name: D\n")
    opened = os.open

    def vanish(name: object, *args: int, **kwargs: int) -> int:
        path.unlink(missing_ok=True)
        return opened(name, *args, **kwargs)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(os, "open", vanish)
    assert set(folder.look().courses) == {"d"}


def test_other_files_are_left_alone(folder: Folder) -> None:
    for name in (".algo.yaml", "algo.yaml~", "algo.yaml.bak", "README.md", "#algo.yaml#"):
        (folder.site.courses_dir / name).write_text("[")
    assert not folder.look().problems


def test_a_change_within_one_tick_of_the_clock_is_seen(folder: Folder) -> None:
    path = folder.write("c", "name: A\n")
    folder.look()
    status = path.stat()
    path.write_text("name: B\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert folder.look().courses["c"].name == "B"


def test_only_named_files_are_read(folder: Folder) -> None:
    folder.write("a", "name: A\n")
    folder.write("b", "name: B\n")
    snapshot = folder.registry.refresh({"a.yaml", "../../etc/passwd.yaml", "nothing.yaml"})
    assert set(snapshot.courses) == {"a"}


def test_an_empty_users_file_names_nobody(folder: Folder) -> None:
    folder.write("algo", "name: A\ngid: 21001\nstudents: [aino]\n")
    folder.write("algo-users", "students: [pekka]\n")
    assert folder.look().courses["algo"].students == {"aino", "pekka"}
    for nobody in ("", "# nobody this year\n", "---\n"):
        folder.write("algo-users", nobody)
        assert folder.look().courses["algo"].students == {"aino"}
        assert folder.errors() == []
        folder.write("algo-users", "students: [pekka]\n")
        folder.look()


def test_too_many_people_are_told_at_the_longer_list(folder: Folder) -> None:
    names = ", ".join(f"x{number}" for number in range(2600))
    folder.write("algo", f"name: A\ngid: 21001\ninstructors: [ada]\nstudents: [{names}]\n")
    folder.write("algo-users", f"# more\nstudents: [{names.replace('x', 'y')}]\n")
    (error,) = folder.errors()
    assert error.startswith("algo-users.yaml:2: students: the course names more than 5000 people")
