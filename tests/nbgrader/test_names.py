"""Names of assignments: each that can be made works to the end, each other is refused with a reason."""

from __future__ import annotations

import json
import re
import sys
import unicodedata
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from courseyard.singleuser.courseyard_nbgrader.names import objection
from tests.nbgrader.conftest import COURSE, Place
from tests.nbgrader.test_course_directory import put
from tests.nbgrader.test_feedback import BOOK, run
from tests.nbgrader.test_single_user_server import HubApi, Server, plan_of, start
from tests.nbgrader.test_single_user_server import hub as hub  # the fixture

MET = ("2) Lists", "Exam (final", "123 (abc)")  # what people have met
#: One name of them all, and of as many other characters as may stand in one.
WORST = ("2) Lists, Exam (final, 123 (abc) ^{0}=~@&;,'_.-é–日本語 𝛑",)
REFUSED = {
    "a+b": "+ divides the parts of a submission's name",
    "what?": "? stands for other characters",
    "[1]": "[ stands for other characters",
    "C#": "# has a meaning of its own in web addresses",
    'the "best"': "is not allowed in file names",
    ".hidden": "begins with .",
    "feedback": "nbgrader leaves out all that is named feedback",
}
#: What nbgrader does with each name on the way, and whether it comes back.
LOOK = """
import glob, json, os, re, sys
sys.path.insert(0, os.environ["JUPYTER_CONFIG_PATH"])
from courseyard_nbgrader import collect, places
from nbgrader.api import Gradebook
from nbgrader.coursedir import CourseDirectory
from nbgrader.exchange.default.list import ExchangeList
places.install()
directory = CourseDirectory(root="/course")
collector = collect.ExchangeCollect(coursedir=directory)
lister = ExchangeList(coursedir=directory, cached=True)
wrong = []
for name in json.load(open(sys.argv[1])):
    folder = directory.format_path("submitted", "maija", name)
    found = [re.fullmatch(directory.format_path("submitted", *words, escape=True), folder)
             for words in (("(?P<s>.*)", "(?P<a>.*)"), ("(?P<s>.*)", name), ("maija", "(?P<a>.*)"))]
    directory.assignment_id = name
    sent = f"maija+{name}+2026-11-02 10:00:00.000001 EET+abcdef"
    taken = collector._submission(sent)
    listed = lister.parse_assignment(f"/c/algo/{sent.rpartition('+')[0]}")
    if (not all(found) or found[0]["a"] != name or glob.escape(folder) != folder
            or directory.assignment_id != name or taken is None or taken.student != "maija"
            or listed["assignment_id"] != name or len(os.fsencode(sent)) > 255):
        wrong.append(name)
try:
    Gradebook("sqlite:///:memory:", "algo").add_assignment("what?")  # as `nbgrader db assignment add` does
    wrong.append("what?")
except ValueError:
    pass
print(json.dumps(wrong))
"""


def names() -> list[str]:
    """Each printable character at each place of a name; of letters and of the many signs a few."""
    characters = [chr(n) for n in range(sys.maxunicode + 1) if chr(n).isprintable()]
    ordinary = [
        each for each in characters if unicodedata.category(each)[0] in "LMNS" and each > "\x7f"
    ]
    few = set(ordinary[::100]) | (set(characters) - set(ordinary))
    return [name for each in sorted(few) for name in (each, f"a{each}", f"{each}a", f"a{each}b")]


def test_a_printable_name_works_or_is_refused(place: Place) -> None:
    given = names()
    accepted = [name for name in given if not objection(name)]
    assert len(accepted) > len(given) * 0.9
    file = place.ada.notebooks / "names.json"
    file.write_text(json.dumps([*accepted, *MET, *WORST]))
    assert place.ada.run("python", "-c", LOOK, str(file)).splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "name", [*MET, *WORST, "week1", "Euler's method", "Übung 3, Teil (b)", "a" * 150]
)
def test_an_ordinary_name_is_none_to_refuse(name: str) -> None:
    assert objection(name, ["feedback", ".*", "*.pyc"]) == ""


@pytest.mark.parametrize(
    "name",
    ["", "  ", " a", "a.", "-x", "a/b", "a\\b", "a\nb", "a\u200bb", "é" * 76, "x.ipynb", "a\ud800"],
)
def test_what_is_wrong_with_a_name(name: str) -> None:
    assert objection(name).endswith(".")


def test_too_long_a_name_says_how_long() -> None:
    assert "at most 75 letters" in objection("é" * 76)


@pytest.fixture(scope="module")
def server(place: Place, hub: str) -> Iterator[Server]:
    started = start(place.ada, hub, plan_of(place, "instructor"))
    yield started
    started.stop()


def test_students_have_peoples_names(place: Place, server: Server) -> None:
    HubApi.people = {
        "maija": {"full_name": "Maija Liisa Korhonen", "email": "maija@example.org"},
        "omar": {"full_name": "Omar", "email": ""},
        "helmi": {"full_name": "Helmi Saarinen", "email": ""},
    }
    for name in ("maija", "omar", "guest"):
        body = {"first_name": None, "last_name": None, "email": None}
        assert ask(server, "PUT", f"student/{name}", body)[0] == 200
    put(place.ada, place.course / "submitted" / "helmi" / "unit" / "essay.ipynb", json.dumps(BOOK))
    listed = json.loads(ask(server, "GET", "students")[1])
    shown = {each["id"]: (each["first_name"], each["last_name"], each["email"]) for each in listed}
    assert shown["maija"] == ("Maija Liisa", "Korhonen", "maija@example.org")
    assert shown["omar"] == ("–", "Omar", "–")
    assert shown["helmi"][:2] == ("Helmi", "Saarinen"), "submitted, and not graded yet"
    assert shown["guest"] == ("–", "–", "–"), "nobody is called None"
    # What the page shows is sent back when a teacher edits a row.
    body = {"first_name": "–", "last_name": "Guest", "email": "–"}
    assert ask(server, "PUT", "student/guest", body)[0] == 200
    said = place.ada.python(f"""
from nbgrader.api import Gradebook
with Gradebook("sqlite:///{place.course}/gradebook.db?timeout=60", "{COURSE}") as book:
    for name in ("maija", "guest"):
        student = book.find_student(name)
        print(student.first_name, student.last_name, student.email)
""")
    assert said.splitlines() == ["Maija Liisa Korhonen maija@example.org", "None Guest None"]


def ask(server: Server, method: str, path: str, body: object = None) -> tuple[int, str]:
    request = urllib.request.Request(
        f"{server.address}formgrader/api/{path}",
        headers={"Authorization": "token x"},
        method=method,
        data=json.dumps(body).encode(),
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_the_worst_names_work_to_the_end(place: Place, server: Server) -> None:
    for name in WORST:
        assert (
            ask(server, "PUT", f"assignment/{quote(name)}", {"duedate_notimezone": None})[0] == 200
        )
        put(place.ada, place.course / "source" / name / "essay.ipynb", json.dumps(BOOK))
    teach = [
        (step, name) for name in WORST for step in ("generate_assignment", "release_assignment")
    ]
    run(place.ada, *teach)
    work = [(step, name) for name in WORST for step in ("fetch_assignment", "submit")]
    run(place.maija, *work)
    steps = ("collect", "autograde", "generate_feedback", "release_feedback")
    run(place.tomas, *((step, name) for name in WORST for step in steps))
    run(place.maija, *(("fetch_feedback", name) for name in WORST))
    for name in WORST:
        assert list((place.maija.notebooks / COURSE / name / "feedback").rglob("essay.html"))
        assert (
            json.loads(ask(server, "GET", f"assignment/{quote(name)}")[1])["num_submissions"] == 1
        )
        said = json.loads(ask(server, "GET", f"submissions/{quote(name)}")[1])
        assert [each["student"] for each in said] == ["maija"]
    listed = json.loads(ask(server, "GET", "assignments")[1])
    assert {each["name"] for each in listed} >= set(WORST)


@pytest.mark.parametrize("name", REFUSED)
def test_other_names_are_refused_when_they_are_made(
    place: Place, server: Server, name: str
) -> None:
    status, said = ask(server, "PUT", f"assignment/{quote(name)}", {"duedate_notimezone": None})
    assert status == 400
    assert REFUSED[name] in json.loads(said)["message"]
    folder: Path = place.course / "source" / name
    put(place.ada, folder / "essay.ipynb", json.dumps(BOOK))
    try:
        assert ask(server, "GET", "assignments")[0] == 200, "the others are there"
        status, said = ask(server, "POST", f"assignment/{quote(name)}/assign")
        assert status == 200
        answer = json.loads(said)
        assert not answer["success"]
        assert REFUSED[name] in answer["log"]
        assert not (place.course / "release" / name).exists()
    finally:
        place.ada.run("rm", "-r", str(folder))


def test_due_dates_are_the_sites_to_the_minute(place: Place, server: Server) -> None:
    """For teacher and student; what cannot be read is refused with a sentence."""
    unit = "due dates"
    put(place.ada, place.course / "source" / unit / "essay.ipynb", json.dumps(BOOK))
    path = f"assignment/{quote(unit)}"

    def set_due(date: str, zone: str | None) -> tuple[int, dict[str, str]]:
        body = {"duedate_notimezone": date, "duedate_timezone": zone}
        status, said = ask(server, "PUT", path, body)
        return status, json.loads(said)

    status, said = set_due("2026-06-30T23:59", "Helsinki")
    assert status == 400
    assert said["message"].startswith("The time zone 'Helsinki' is not known. Leave it empty for")
    for zone in (None, "", "Europe/Helsinki", "+0300"):
        status, said = set_due("2026-06-30T23:59", zone)
        assert status == 200
        assert said["duedate"] == "2026-06-30T20:59:00"
        assert said["display_duedate"] == "2026-06-30 23:59"
        assert said["duedate_notimezone"] == "2026-06-30T23:59:00"
        assert said["duedate_timezone"] == "Europe/Helsinki", "an offset is another one in winter"
    run(place.ada, ("generate_assignment", unit), ("release_assignment", unit))
    run(place.maija, ("fetch_assignment", unit), ("submit", unit))
    listed = json.loads(server.get(f"assignments?course_id={COURSE}")[1])["value"]
    assert {each["assignment_id"]: each["said"] for each in listed}[unit] == "due 2026-06-30 23:59"
    assert set_due("2020-06-30T12:00", None)[0] == 200  # also after the release
    listed = json.loads(server.get(f"assignments?course_id={COURSE}")[1])["value"]
    assert {each["assignment_id"]: each["said"] for each in listed}[unit] == "due 2020-06-30 12:00"
    run(place.ada, ("collect", unit))
    (row,) = json.loads(ask(server, "GET", f"submissions/{quote(unit)}")[1])
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d \(late\)", row["display_timestamp"])


def test_a_page_of_feedback_runs_no_script_but_mathjax(place: Place, server: Server) -> None:
    folder = place.ada.notebooks / COURSE / "unit 1" / "feedback" / "2026-11-02 10:00:00.1 EET"
    nbconvert = (
        '<script src="https://cdnjs.cloudflare.com/ajax/libs/mathjax/2.7.7/latest.js?config=x"> '
        '</script><script type="text/x-mathjax-config">init_mathjax()</script>'
    )
    text = f"<!DOCTYPE html><html><head>{nbconvert}</head><body>$n \\log_2 n$</body></html>"
    put(place.ada, folder / "essay.html", text)
    path = quote(f"courseyard/feedback{folder}")
    status, page, headers = server.get(path)  # the folder leads to its only page
    assert status == 200
    assert "$n \\log_2 n$" in page
    assert "https://" not in page
    assert "x-mathjax-config" not in page
    policy = headers["Content-Security-Policy"]
    (scripts,) = [rule for rule in policy.split("; ") if rule.startswith("script-src")]
    for each in re.findall(r'<script src="([^"?]*)', page):
        allowed = [f"/{word.split('/', 3)[3]}" for word in scripts.split()[1:]]
        assert each.startswith(tuple(allowed)), (each, allowed)
        assert server.get(each.removeprefix("/user/ada/algo2026/"))[0] == 200
    assert "unsafe" not in scripts
    assert "default-src 'none'" in policy
    put(place.ada, folder / "second.html", "<html></html>")
    assert server.get(path)[1].count("<li>") == 2
    for other in ("courseyard/feedback/etc/passwd", f"courseyard/feedback{place.course}"):
        assert server.get(quote(other))[0] == 404


def test_a_terminal_says_it_too(place: Place) -> None:
    folder = place.course / "source" / "what?"
    put(place.ada, folder / "essay.ipynb", json.dumps(BOOK))
    put(place.ada, place.course / "source" / "week9" / "part #1.ipynb", json.dumps(BOOK))
    said = place.ada.nbgrader("generate_assignment", "what?", ok=False)
    assert "Not generated: The name 'what?' cannot be used" in said
    said = place.ada.nbgrader("generate_assignment", "week9", ok=False)
    assert "The name 'part #1' cannot be used" in said
    assert not (place.course / "release" / "week9").exists()
