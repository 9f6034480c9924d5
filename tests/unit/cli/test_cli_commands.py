"""Commands as people type them, in processes of their own."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PEOPLE = {"ada", "tomas", "maija", "omar", "helmi", "ilkka"}


def run(*words: str | Path, **more: object) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COURSEYARD_")}
    environment |= more.pop("env", {})  # type: ignore[arg-type]
    return subprocess.run(
        [sys.executable, "-m", "courseyard.cli", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment | {"COLUMNS": "80"},
        **more,  # type: ignore[call-overload]
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "demo"
    done = run("init", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def site(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "demo"))


def no_traceback(done: subprocess.CompletedProcess[str]) -> None:
    assert "Traceback" not in done.stdout + done.stderr


class TestInit:
    def test_makes_a_site_with_private_passwords(self, made: Path) -> None:
        passwords = made / "passwords.yaml"
        assert passwords.stat().st_mode & 0o777 == 0o600
        words = yaml.safe_load(passwords.read_text())
        assert set(words) == PEOPLE
        assert len(set(words.values())) == len(PEOPLE)
        assert all(len(word) >= 14 for word in words.values())
        assert "passwords.yaml" in (made / ".gitignore").read_text()

    def test_everyone_can_read_the_rest_whatever_the_umask(self, tmp_path: Path) -> None:
        assert run("init", tmp_path / "demo", umask=0o077).returncode == 0
        for path in (tmp_path / "demo").rglob("*"):
            wanted = 0o755 if path.is_dir() else 0o600 if path.name == "passwords.yaml" else 0o644
            assert path.stat().st_mode & 0o777 == wanted, path

    def test_refuses_a_folder_with_something_in_it(self, tmp_path: Path) -> None:
        (tmp_path / "mine.txt").write_text("mine")
        done = run("init", tmp_path)
        assert done.returncode == 1
        assert "is not empty" in done.stderr
        assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]

    def test_refuses_a_site_a_file_and_a_link(self, made: Path, tmp_path: Path) -> None:
        assert "site in" in run("init", made).stderr
        (tmp_path / "file").write_text("")
        assert run("init", tmp_path / "file").returncode == 1
        (tmp_path / "away").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "away")
        assert run("init", tmp_path / "link").returncode == 1
        assert not list((tmp_path / "away").iterdir())

    def test_leaves_nothing_half_written(self, tmp_path: Path) -> None:
        def small_files() -> None:
            import resource

            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

        done = run("init", tmp_path / "demo", preexec_fn=small_files)
        assert done.returncode == 1
        no_traceback(done)
        assert list(tmp_path.iterdir()) == []

    def test_an_empty_site_is_sound(self, tmp_path: Path) -> None:
        assert run("init", tmp_path / "mine", "--empty").returncode == 0
        assert list((tmp_path / "mine" / "courses").iterdir()) == []
        done = run("check", tmp_path / "mine")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "people" not in done.stdout.replace(str(tmp_path), "")

    def test_prints_commands_that_a_shell_takes(self, tmp_path: Path) -> None:
        folder = tmp_path / "sp ace é"
        assert f"courseyard up '{folder}'" in run("init", folder).stdout
        assert f"`courseyard up '{folder}'`" in run("init", folder).stderr


class TestCheck:
    def test_names_file_line_and_key(self, site: Path) -> None:
        (site / "courses" / "logic.yaml").write_text("name: Logic\nprivat: true\n")
        done = run("check", site)
        assert done.returncode == 1
        (line,) = (x for x in done.stdout.splitlines() if "logic.yaml" in x)
        assert line.startswith(f"{site}/courses/logic.yaml:2: privat: ")
        assert "private" in line

    def test_warnings_alone_pass_unless_strict(self, site: Path) -> None:
        (site / "courses" / "ghost-users.yaml").write_text("students: [maija]\n")
        assert run("check", site).returncode == 0
        assert run("check", site, "--strict").returncode == 1
        assert "warning: " in run("check", site).stdout

    def test_says_all_in_json(self, site: Path) -> None:
        (site / "courses" / "logic.yaml").write_text("uid: 7\n")
        done = run("check", site, "--json")
        found = [p for p in json.loads(done.stdout) if p["file"].endswith("logic.yaml")]
        assert ("error", "uid") in {(p["severity"], p["key"]) for p in found}

    @pytest.mark.parametrize(
        ("file", "text", "said"),
        [
            ("courseyard.yaml", "nam: X\n", "courseyard.yaml:1: nam"),
            ("courseyard.yaml", "hub: {port: no}\n", "hub.port"),
            ("courseyard.yaml", "a: [1\n", "courseyard.yaml:"),
            ("images.yaml", "families: 7\n", "images.yaml"),
            ("people.yaml", "people: {ada: {uid: 5}}\n", "people.yaml:1: people.ada.uid"),
        ],
    )
    def test_covers_every_file(self, site: Path, file: str, text: str, said: str) -> None:
        (site / file).write_text(text)
        done = run("check", site)
        assert done.returncode == 1
        assert said in done.stdout
        no_traceback(done)

    def test_finds_an_administrator_whom_nobody_knows(self, site: Path) -> None:
        text = (site / "courseyard.yaml").read_text()
        (site / "courseyard.yaml").write_text(text.replace("[ilkka]", "[ilka]"))
        line = text[: text.index("[ilkka]")].count("\n") + 1
        said = run("check", site).stdout
        assert f"courseyard.yaml:{line}: people.administrators[0]: warning: 'ilka' is not" in said

    def test_a_file_of_people_that_knows_nobody(self, site: Path) -> None:
        (site / "people.yaml").write_text("people: {}\n")
        assert (
            "administrators[0]: warning: 'ilkka' is not in people.yaml" in run("check", site).stdout
        )

    def test_finds_an_instructor_whom_nobody_knows(self, site: Path) -> None:
        file = site / "courses" / "algo2026.yaml"
        text = file.read_text().replace("- ada", "- adda").replace("[ada", "[adda")
        file.write_text(text)
        line = text[: text.index("instructors:")].count("\n") + 1
        said = run("check", site).stdout
        assert f"algo2026.yaml:{line}: instructors: warning: adda is not in people.yaml" in said

    def test_a_folder_without_a_site(self, tmp_path: Path) -> None:
        done = run("check", tmp_path)
        assert done.returncode == 1
        assert "courseyard.yaml" in done.stdout
        no_traceback(done)

    @pytest.mark.parametrize(
        ("folder", "command"),
        [("/nope", "init /nope"), ("no/such", "init no/such"), ("/no such", "init '/no such'")],
    )
    def test_a_folder_that_is_not_there(self, folder: str, command: str) -> None:
        assert f"make one with `courseyard {command}`" in run("check", folder).stdout

    def test_finds_courses_that_people_own(self, site: Path) -> None:
        people = yaml.safe_load((site / "people.yaml").read_text())
        people["people"]["omar"]["gid"] = 21077
        (site / "people.yaml").write_text(yaml.safe_dump(people))
        uid = people["people"]["maija"]["uid"]
        (site / "courses" / "logic.yaml").write_text(f"name: L\nuid: {uid}\ngid: 21077\n")
        done = run("check", site)
        assert "courses/logic.yaml:2: uid: warning: is the UID of maija" in done.stdout
        assert "courses/logic.yaml:3: gid: warning: is the primary group of omar" in done.stdout
        assert done.returncode == 0

    def test_the_group_of_all_users_is_no_courses_group(self, site: Path) -> None:
        (site / "courses" / "logic.yaml").write_text("name: L\ngid: 20000\n")
        done = run("check", site)
        assert done.returncode == 1
        assert "courses/logic.yaml:2: gid: is the group users" in done.stdout

    def test_takes_the_site_from_the_environment_or_the_folder(self, site: Path) -> None:
        here = subprocess.run(
            [sys.executable, "-m", "courseyard.cli", "check"], cwd=site, check=False, timeout=60,
            capture_output=True,
        )  # fmt: skip
        named = subprocess.run(
            [sys.executable, "-m", "courseyard.cli", "check"], cwd="/", check=False, timeout=60,
            env=os.environ | {"COURSEYARD_SITE": str(site)}, capture_output=True,
        )  # fmt: skip
        assert (here.returncode, named.returncode) == (0, 0)


class TestStorage:
    def test_makes_mends_and_then_has_nothing_to_do(self, site: Path) -> None:
        dry = run("storage", "apply", site, "--dry-run")
        assert "course/algo2026/files: make folder" in dry.stdout
        assert not (site / "storage").exists()
        first = run("storage", "apply", site)
        assert first.returncode == 0, first.stderr
        source = site / "storage" / "course" / "algo2026" / "files" / "source"
        assert (source / "week1" / "sorting.ipynb").is_file()
        assert run("storage", "apply", site).stdout == ""
        (site / "storage" / "course" / "algo2026" / "files").chmod(0o777)
        assert "should be changed" in run("check", site).stdout
        assert "mode 2770" in run("storage", "apply", site).stdout

    def test_what_a_teacher_deleted_stays_deleted(self, site: Path) -> None:
        run("storage", "apply", site)
        source = site / "storage" / "course" / "algo2026" / "files" / "source"
        shutil.rmtree(source / "week2")
        (source / "week1" / "sorting.ipynb").write_text("mine")
        run("storage", "apply", site)
        assert not (source / "week2").exists()
        assert (source / "week1" / "sorting.ipynb").read_text() == "mine"

    def test_says_what_stands_in_the_way(self, site: Path) -> None:
        (site / "storage").mkdir()
        (site / "storage" / "course").symlink_to("/etc")
        for command in (("storage", "apply"), ("check",)):
            done = run(*command, site)
            assert done.returncode == 1
            assert "course" in done.stdout + done.stderr
            no_traceback(done)

    def test_a_broken_folder_costs_its_course(self, site: Path) -> None:
        exchange = site / "storage" / "exchange" / "ml2027"
        (exchange / "ml-old").mkdir(parents=True)
        (exchange / "ml2027").symlink_to("ml-old")
        checked = run("check", site)
        said = f"{exchange}/ml2027: is a link or not a folder, so the folders of the course ml2027"
        assert checked.returncode == 1
        assert said in checked.stdout
        for words in (("--dry-run",), ()):
            done = run("storage", "apply", site, *words)
            assert done.returncode == 1
            assert said in done.stderr
            assert "exchange/algo2026/algo2026/inbound: make folder" in done.stdout
        assert (site / "storage/course/algo2026/files/source/week1/sorting.ipynb").is_file()
        source = site / "storage" / "course" / "algo2026" / "files" / "source"
        source.rename(source.with_name("src2"))
        source.symlink_to("src2")
        assert f"{source}: is a link or not a folder" in run("check", site).stdout


class TestPlan:
    def test_gives_the_reason_of_each_mount(self, site: Path) -> None:
        done = run("plan", "ada", "algo2026", "--role", "instructor", "--site", site)
        assert done.returncode == 0
        (line,) = (x for x in done.stdout.splitlines() if x.strip().startswith("/course "))
        assert "course/algo2026/files" in line
        assert "# the course directory" in line

    def test_is_json_for_programs(self, site: Path) -> None:
        plan = json.loads(run("plan", "maija", "algo2026", "-s", site, "--json").stdout)
        assert plan["identity"]["username"] == "maija"
        assert plan["role"] == "student"

    def test_a_refusal_has_a_sentence_and_the_rule(self, site: Path) -> None:
        done = run("plan", "omar", "algo2026", "--role", "instructor", "-s", site)
        assert done.returncode == 1
        assert "omar may not start algo2026 as instructor." in done.stderr
        assert "the course is public, and omar is neither its staff nor a listed" in done.stderr
        assert "rule " in done.stderr
        assert done.stdout == ""

    @pytest.mark.parametrize(
        ("words", "code", "said"),
        [
            (("maija", "algo2025x"), 1, "did you mean algo202"),
            (("nobody",), 1, "'nobody' cannot have a server here"),
            (("../x",), 1, "'../x' cannot have a server here"),
            (("maija", "algo2026", "--role", "boss"), 2, "boss"),
            (("maija", "general", "--role", "student"), 2, "has no role student"),
            (("maija", "general/nosuch"), 1, "environment"),
            ((), 2, "USER"),
        ],
    )
    def test_wrong_words(self, site: Path, words: tuple[str, ...], code: int, said: str) -> None:
        done = run("plan", *words, "-s", site)
        assert done.returncode == code, done.stderr
        assert said in done.stderr
        no_traceback(done)


class TestMistakesOfCourseFiles:
    @pytest.fixture(autouse=True)
    def _broken(self, site: Path) -> None:
        (site / "courses" / "logic.yaml").write_text("name: L\nprivat: true\n")

    @pytest.mark.parametrize(
        "words",
        [
            ("check", "{}"),
            ("courses", "{}"),
            ("plan", "ada", "algo2026", "-s", "{}"),
            ("storage", "apply", "{}", "--dry-run"),
        ],
    )
    def test_are_told_once(self, site: Path, words: tuple[str, ...]) -> None:
        done = run(*(word.format(site) for word in words))
        told = done.stdout + done.stderr
        assert told.count("logic.yaml") + told.count("Errors in course files: 1") == 1
        assert "courseyard.registry" not in told

    def test_are_nothing_to_the_completion(self, site: Path) -> None:
        site_file = site / "courseyard.yaml"
        site_file.write_text(site_file.read_text() + "x-own: yes\n")  # a warning
        done = run(
            env=os.environ
            | {
                "_PYTHON _M COURSEYARD.CLI_COMPLETE": "complete_bash",
                "_COURSEYARD_COMPLETE": "complete_bash",
                "COMP_WORDS": f"courseyard plan -s {site} ada al",
                "COMP_CWORD": "5",
            }
        )
        assert done.stdout.split() == ["algo2025", "algo2026"]
        assert done.stderr == ""


class TestLists:
    def test_courses(self, site: Path) -> None:
        rows = {row["slug"]: row for row in json.loads(run("courses", site, "--json").stdout)}
        assert rows["algo2026"]["state"] == "public"
        assert rows["algo2025"]["state"] == "archived"
        lines = run("courses", site).stdout.splitlines()
        assert lines[0].startswith("SLUG")
        assert len(lines) == len(rows) + 1

    def test_a_title_cannot_draw_on_the_terminal(self, site: Path) -> None:
        (site / "courses" / "evil.yaml").write_text('name: "[red]x[/red] \\\\e[2J"\n')
        done = run("courses", site)
        assert "\x1b" not in done.stdout
        assert "[red]x[/red]" in done.stdout

    def test_images(self, site: Path) -> None:
        rows = json.loads(run("images", "list", site, "--json").stdout)
        assert {"DEFAULT", "GPU"} == {row["family"] for row in rows}
        assert "not built" in run("images", "list", site).stdout

    def test_colour_is_for_terminals(self, site: Path) -> None:
        main, other = pty.openpty()
        with subprocess.Popen(
            [sys.executable, "-m", "courseyard.cli", "courses", str(site)],
            stdout=other,
            env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "140"},
        ) as process:
            assert process.wait(60) == 0
        os.close(other)
        text = os.read(main, 65536)
        os.close(main)
        assert b"\x1b[1m" in text


class TestArguments:
    @pytest.mark.parametrize(
        ("words", "code", "said"),
        [
            (("chek",), 2, "check"),
            (("check", "--strickt"), 2, "--strict"),
            (("init",), 2, "DIR"),
            (("up", "/no/such/site"), 1, "courseyard.yaml"),
            (("storage",), 2, "apply"),
        ],
    )
    def test_mistakes_are_answered(self, words: tuple[str, ...], code: int, said: str) -> None:
        done = run(*words)
        assert done.returncode == code
        assert said in done.stdout + done.stderr
        no_traceback(done)

    def test_version_and_completion(self) -> None:
        assert run("--version").stdout.startswith("courseyard ")
        completed = subprocess.run(
            [sys.executable, "-m", "courseyard.cli"],
            env=os.environ
            | {
                "_PYTHON _M COURSEYARD.CLI_COMPLETE": "complete_bash",
                "_COURSEYARD_COMPLETE": "complete_bash",
                "COMP_WORDS": "courseyard st",
                "COMP_CWORD": "1",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert "Traceback" not in completed.stderr

    def test_a_closed_pipe_is_no_error(self, site: Path) -> None:
        done = subprocess.run(
            f"{sys.executable} -m courseyard.cli courses {site} | head -1",
            shell=True, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.stderr == ""
