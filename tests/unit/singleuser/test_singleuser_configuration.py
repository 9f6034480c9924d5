"""Which of Jupyter's and nbgrader's parts a server shows, and that values stay data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from traitlets import Int, List, TraitError, Unicode, validate
from traitlets.config import Application, Configurable, PyFileConfigLoader

from courseyard.singleuser import configuration, start
from courseyard.singleuser.configuration import disabled, server_extensions, start_url

PROGRAM = Path(configuration.__file__).parent
ROLES = {"general": None, "student": False, "instructor": True}


def plan(role: str, **more: Any) -> dict[str, Any]:
    teaching = ROLES[role]
    nbgrader = None
    if teaching is not None:
        nbgrader = {
            "config": {"Exchange": {"root": "/srv/nbgrader/exchange"}},
            "extra_lines": "",
            "append_file": "",
            "formgrader": teaching,
            "create_assignment": teaching,
            "assignment_list": True,
            "validate_assignment": True,
        }
    return {
        "version": 1,
        "nbgrader": nbgrader,
        "default_url": "/lab",
        "start_folder": "/notebooks",
    } | more


@pytest.mark.parametrize(("shared", "transport"), [(True, "ipc"), (False, None)])
def test_kernels_ports_are_closed_to_what_is_graded(
    tmp_path: Path, shared: bool, transport: str | None
) -> None:
    folder = configuration.write(plan("instructor"), tmp_path, PROGRAM, shared=shared)
    config = json.loads((folder / "jupyter_server_config.json").read_text())
    assert config.get("KernelManager", {}).get("transport") == transport


@pytest.mark.parametrize(
    ("role", "shown"),
    [
        ("general", set()),
        ("student", {"assignment_list", "validate_assignment"}),
        ("instructor", {"assignment_list", "validate_assignment", "formgrader"}),
    ],
)
def test_server_extensions_by_role(role: str, shown: set[str]) -> None:
    on = {
        name.rpartition(".")[2] for name, loaded in server_extensions(plan(role)).items() if loaded
    }
    assert on == shown


@pytest.mark.parametrize(
    ("role", "hidden"),
    [
        ("general", {"assignment-list", "validate-assignment", "create-assignment", "course-list"}),
        ("student", {"create-assignment", "course-list"}),
        ("instructor", {"course-list"}),
    ],
)
def test_plugins_of_jupyterlab_by_role(role: str, hidden: set[str]) -> None:
    off = {
        name.partition(":")[2]
        for name in disabled(plan(role))
        if name.startswith("@jupyter/nbgrader:")
    }
    # The frame of nbgrader's own formgrader stays blank under a hub: ours takes its place.
    assert off == hidden | {"formgrader"}
    assert ("courseyard:formgrader" in disabled(plan(role))) == (role != "instructor")
    assert ("@jupyter/nbgrader" in disabled(plan(role))) == (role == "general")


def test_the_classic_page_opens_the_start_folder() -> None:
    assert start_url(plan("student", default_url="/tree")) == "/tree/notebooks"
    assert start_url(plan("student")) == "/lab"
    assert start_url(plan("student", default_url="/lab/tree/x.ipynb")) == "/lab/tree/x.ipynb"


def test_html_of_students_is_sanitised_and_nothing_goes_to_a_trash() -> None:
    config = configuration.server_config(plan("instructor"), PROGRAM)
    assert config["HTMLExporter"]["sanitize_html"] is True
    assert config["FileContentsManager"]["delete_to_trash"] is False


def nbgrader_values(folder: Path) -> Any:
    """What nbgrader_config.py sets, read as nbgrader does."""
    return PyFileConfigLoader("nbgrader_config.py", path=str(folder)).load_config()


def test_a_hostile_value_stays_data(tmp_path: Path) -> None:
    evil = "'''\"; import os; os.abort() #\n{{ }}$(reboot)"
    wanted = plan("student")
    wanted["nbgrader"]["config"] = {"CourseDirectory": {"course_id": evil}}
    folder = configuration.write(wanted, tmp_path, PROGRAM)
    assert nbgrader_values(folder)["CourseDirectory"]["course_id"] == evil


def test_lines_of_the_course_then_those_of_its_instructors(tmp_path: Path) -> None:
    append = tmp_path / "append"
    append.write_text("c.Execute.timeout = 3\n")
    wanted = plan("instructor")
    wanted["nbgrader"] |= {
        "config": {"Execute": {"timeout": 1}},
        "extra_lines": "c.Execute.timeout = 2\nc.Execute.retries = c.Execute.timeout\n",
        "append_file": str(append),
    }
    folder = configuration.write(wanted, tmp_path, PROGRAM)
    assert nbgrader_values(folder)["Execute"] == {"timeout": 3, "retries": 2}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"c.Execute.timeout = 3\nx: = 1\n", ":2: SyntaxError"),
        (b"\nraise SystemExit\n", ":2: SystemExit"),
        (b"nonsense\n", ":1: NameError"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_a_broken_append_file_costs_only_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: bytes, said: str
) -> None:
    append = tmp_path / "append"
    append.write_bytes(text)
    wanted = plan("instructor")
    wanted["nbgrader"]["append_file"] = str(append)
    values = nbgrader_values(configuration.write(wanted, tmp_path, PROGRAM))
    assert values["Exchange"]["root"] == "/srv/nbgrader/exchange"
    assert f"{append}" in caplog.text
    assert said in caplog.text


class Parent(Configurable):
    """As nbgrader's Exchange: a section whose values reach the classes below it."""

    folder = Unicode("x").tag(config=True)


class Child(Parent):
    count = Int(1).tag(config=True)
    words = List(Unicode(), ["a"]).tag(config=True)
    inner = Int(1)

    @validate("folder")
    def _absolute(self, proposal: Any) -> str:
        if not proposal["value"].startswith("/"):
            raise TraitError("not absolute")
        return str(proposal["value"])


class Program(Application):
    """Must not be made: a second one would be a second program."""

    count = Int(1).tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        raise AssertionError("an application was made")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("c.Child.count = 'five'", "Child.count is left out: The 'count' trait of"),
        ("c.Child.folder = 'relative'", "Child.folder is left out: not absolute"),
        ("c.Parent.folder = 5", "Parent.folder is left out: "),
        ("c.Parent.count = None", "Parent.count is left out: "),
        ("c.Parent.Child.count = []", "Parent.Child.count is left out: "),
        ("c.Child.words.append(5)", "Child.words is left out: "),
        ("c.Child.words = 'abc'", "Child.words is left out: "),
        ("c.Program.count = 1.5", "Program.count is left out: "),
        ("c.Application.log_level = 'LOUD'", "Application.log_level is left out: "),
    ],
)
def test_a_value_of_the_wrong_kind_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, line: str, said: str
) -> None:
    append = tmp_path / "append"
    append.write_text(f"c.Child.count = 7\n{line}\nc.Exchange.cache = 'after'\n")
    wanted = plan("instructor")
    wanted["nbgrader"]["append_file"] = str(append)
    values = nbgrader_values(configuration.write(wanted, tmp_path / "home", PROGRAM))
    assert f"{append}: {said}" in caplog.text
    assert len(caplog.records) == 1
    assert values.Exchange.cache == "after", "the lines below it are in force"
    section, trait = said.partition(" ")[0].split(".")[-2:]
    assert trait not in values[section] or (trait == "count" and values[section].count == 7)


def test_a_wrong_value_leaves_the_one_before_it(tmp_path: Path) -> None:
    append = tmp_path / "append"
    append.write_text("c.Child.words.append(5)\nc.Child.folder = ''\nc.Child.count = 1.5\n")
    wanted = plan("instructor")
    wanted["nbgrader"] |= {
        "config": {"Child": {"words": ["ours"], "folder": "/ours"}},
        "extra_lines": "c.Child.count = 2\nc.Child.words.append('theirs')\n",
        "append_file": str(append),
    }
    values = nbgrader_values(configuration.write(wanted, tmp_path / "home", PROGRAM))
    assert values.Child == {"words": ["ours", "theirs"], "folder": "/ours", "count": 2}


def test_what_nobody_knows_stays_for_nbgrader_to_say(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = plan("student")
    wanted["nbgrader"]["extra_lines"] = (
        "c.Child.unknown = 5\nc.Child.inner = 'x'\nc.Nobody.count = 'x'\n"
        "c.Child.words.extend(['b'])\nc.whatever = open\n"
    )
    values = nbgrader_values(configuration.write(wanted, tmp_path, PROGRAM))
    assert values.Child.unknown == 5
    assert values.Child.inner == "x"
    assert values.Nobody.count == "x"
    assert values.Child.words.get_value(["a"]) == ["a", "b"]
    assert not caplog.records


def test_what_is_fixed_comes_after_every_file(tmp_path: Path) -> None:
    append = tmp_path / "append"
    append.write_text("c.Child.count = 3\nc.Child.folder = '/theirs'\nraise SystemExit\n")
    wanted = plan("instructor")
    wanted["nbgrader"] |= {
        "fixed": {"Child": {"count": 4}},
        "extra_lines": "c.Child.count = 2\n",
        "append_file": str(append),
    }
    values = nbgrader_values(configuration.write(wanted, tmp_path / "home", PROGRAM))
    assert values.Child == {"count": 4, "folder": "/theirs"}


def test_an_append_file_that_is_a_folder_or_missing(tmp_path: Path) -> None:
    wanted = plan("instructor")
    for append in (tmp_path, tmp_path / "missing"):
        wanted["nbgrader"]["append_file"] = str(append)
        assert nbgrader_values(configuration.write(wanted, tmp_path / "home", PROGRAM))


def test_general_servers_get_no_nbgrader_configuration(tmp_path: Path) -> None:
    folder = configuration.write(plan("general"), tmp_path, PROGRAM)
    assert not (folder / "nbgrader_config.py").exists()
    page = json.loads((folder / "labconfig" / "page_config.json").read_text())
    assert page["disabledExtensions"]["@jupyter/nbgrader"] is True


def test_a_plan_of_another_version_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    for text in ("", "[]", '{"version": 2}'):
        file.write_text(text)
        with pytest.raises(SystemExit, match="plan of this server"):
            start.read_plan(file)


def test_the_image_is_first_in_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start.sys, "prefix", "/image")
    monkeypatch.setenv("PATH", "/usr/bin:/image/bin:/bin")
    start.prefer_image()
    assert start.os.environ["PATH"] == "/image/bin:/usr/bin:/bin"
