"""What the site's settings and the catalog do to course files; the schema for editors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from courseyard.images.catalog import ImageCatalog, Release
from courseyard.registry.course import Course
from courseyard.registry.files import read_course
from courseyard.registry.keys import KEYS
from courseyard.registry.override import PARSERS, is_reserved_variable
from courseyard.registry.reader import Rules
from courseyard.registry.schema import course_schema, site_schema, users_schema
from courseyard.registry.slugs import slug_problem
from courseyard.settings import Site
from courseyard.yamlfile import parse_yaml

ROOT = Path(__file__).parents[3]
CORPUS = ROOT / "tests/corpus"
CATALOG = ImageCatalog({"DEFAULT": (Release("DEFAULT", None, "python:1"),)})


def read(text: str, **settings: Any) -> tuple[Course | None, list[str]]:
    found = read_course(text.encode(), Path("c.yaml"), Rules(Site(**settings), CATALOG))
    return found.course, [str(problem) for problem in found.problems]


def test_a_site_can_allow_more_overrides() -> None:
    text = "name: C\nkubespawner_override: {scheduler_name: quick, mem_limit: 1G}\n"
    course, problems = read(text)
    assert course is None
    assert "courseyard.yaml: servers: {allow_override: [scheduler_name]}" in problems[0]
    course, problems = read(text, servers={"allow_override": ("scheduler_name",)})
    assert not problems
    assert course is not None
    assert course.kubespawner_override.site_allowed == {"scheduler_name": "quick"}
    assert course.kubespawner_override.mem_limit == 1024**3


@pytest.mark.parametrize("key", ["uid", "gid", "privileged", "supplemental_gids", "cmd"])
def test_who_a_server_runs_as_is_nobodys_to_allow(key: str) -> None:
    text = f"name: C\nkubespawner_override: {{{key}: 0}}\n"
    course, problems = read(text, servers={"allow_override": (key,)})
    assert course is None
    assert "is refused" in problems[0]


def test_a_sites_usernames() -> None:
    text = "name: C\nstudents: ['1234567', Maija, root]\n"
    assert len(read(text)[1]) == 3
    course, problems = read(text, people={"username_pattern": "[A-Za-z0-9]{1,20}"})
    assert course is None
    assert problems == ["c.yaml:2: students[2]: root is the system's own account and never a user"]


def test_names_checked_once_stay_wrong() -> None:
    """The memory of checked names holds no bad ones."""
    rules = Rules(Site(), CATALOG)
    for _ in range(2):
        found = read_course(b"students: [maija, Bad One]\n", Path("c.yaml"), rules)
        assert found.course is None
    assert read_course(b"name: C\nstudents: [maija]\n", Path("c.yaml"), rules).course
    assert "root" not in rules.known_names
    assert read_course(b"students: [root]\n", Path("c.yaml"), rules).course is None


def test_the_sites_marker_is_reserved() -> None:
    text = "name: C\nkubespawner_override: {environment: {OUR_HUB: '0'}}\n"
    assert read(text)[0] is not None
    assert read(text, servers={"marker": "OUR_HUB"})[0] is None


@pytest.mark.parametrize(
    "name",
    [
        *("HOME", "PATH", "NB_USER", "NB_COURSE", "COURSEDATA", "TZ", "JUPYTERHUB_API_TOKEN"),
        *("JPY_API_TOKEN", "LD_PRELOAD", "PYTHONPATH", "OMP_NUM_THREADS", "JULIA_NUM_THREADS"),
        *("JUPYTER_CONFIG_DIR", "COURSEYARD_SOCKET_FD", "BASH_ENV", "ld_preload"),
    ],
)
def test_variables_of_ours(name: str) -> None:
    assert is_reserved_variable(name)


def test_a_guarantee_beside_the_sites_limit() -> None:
    text = "name: C\nkubespawner_override: {mem_guarantee: 3G}\n"
    assert read(text, servers={"mem_limit": "4G"})[0] is not None
    course, problems = read(text, servers={"mem_limit": "2G"})
    assert course is None
    assert "is over the site's `mem_limit`" in problems[0]


@pytest.mark.parametrize("slug", ["a", "0", "a_b", "a-b", "x" * 40, "general-python", "algo2026"])
def test_slugs(slug: str) -> None:
    assert slug_problem(slug) is None


@pytest.mark.parametrize(
    "slug",
    [
        *("", "-a", "_a", "A", "x" * 41, "a--b", "a b", "a/b", "..", "ä", "a\n", "a-instructor"),
        *("a-users", "meta", "general", "users", "test", "hub", "api", "general-python-env"),
    ],
)
def test_no_slugs(slug: str) -> None:
    assert slug_problem(slug) is not None


def test_every_key_of_a_course_is_in_the_table() -> None:
    ours = {"slug", "file", "complete", "extensions"}
    assert set(KEYS) == set(Course.model_fields) - ours
    assert all(key.text.endswith(".") for key in KEYS.values())


def test_every_key_of_the_override_is_in_the_table() -> None:
    parts = Course.model_fields["kubespawner_override"].annotation
    assert parts is not None
    assert set(PARSERS) == set(parts.model_fields) - {"site_allowed"}


# Schemas


def seen_by_editor(path: Path) -> Any:
    """As an editor sees the file: YAML 1.2, in which dates are text."""
    data = parse_yaml(path.read_bytes(), path).data
    return json.loads(json.dumps(data, default=str))


def good_files() -> list[Path]:
    blocks = (CORPUS / "expected.txt").read_text(encoding="utf-8").split("\n\n")
    good = [b.split("\n")[0] for b in blocks if b.rstrip().endswith("in force")]
    examples = (ROOT / "examples/university/courses").glob("*.yaml")
    return [*(CORPUS / "courses" / name for name in good), *examples]


@pytest.mark.parametrize("path", good_files(), ids=lambda path: path.name)
def test_the_schema_takes_what_loads(path: Path) -> None:
    schema = users_schema() if path.stem.endswith("-users") else course_schema()
    jsonschema.validate(seen_by_editor(path), schema)


@pytest.mark.parametrize(
    "text",
    ["nmae: x", "uid: '1001'", "uid: 5", "private: 1", "student_umask: 27", "image: [A]", "gid: x"],
)
def test_the_schema_refuses_typos(text: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(text), course_schema())


def test_schemas_are_schemas() -> None:
    for schema in (course_schema(["volumes"]), users_schema(), site_schema()):
        jsonschema.Draft202012Validator.check_schema(schema)
    assert "folder" not in site_schema()["properties"]


def test_the_site_schema_takes_the_example() -> None:
    jsonschema.validate(seen_by_editor(ROOT / "examples/university/courseyard.yaml"), site_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"nmae": "x"}, site_schema())
