"""The documentation says what the code does: reference up to date, words and links that lead somewhere."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
PAGES = sorted(
    [
        *DOCS.rglob("*.md"),
        *(REPOSITORY / f"{n}.md" for n in ("README", "CHANGELOG", "CONTRIBUTING")),
    ]
)


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_that_of_the_code(generate: ModuleType) -> None:
    for name, content in generate.pages().items():
        committed = (DOCS / "reference" / name).read_text(encoding="utf-8")
        assert committed == content, f"docs/reference/{name} is old; run script/docs"


def test_every_setting_command_and_error_is_in_the_reference(generate: ModuleType) -> None:
    pages = generate.pages()
    assert "| `servers.cull_max_age` | 8 hours |" in pages["site-file.md"]
    assert "`courseyard plan USER [COURSE]`" in pages["commands.md"]
    assert "| `out-of-memory` |" in pages["errors.md"]
    assert "| `restrict_submit` |" in pages["course-file.md"]


def test_something_without_a_description_is_refused(generate: ModuleType) -> None:
    from pydantic import BaseModel

    class Silent(BaseModel):
        width: int = 1

    with pytest.raises(generate.UndocumentedError, match="width"):
        list(generate._settings(Silent, "part.", None))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{target} leads nowhere"
        if anchor:
            assert anchor in _anchors(there), f"{target}: no such heading"


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"(?m)^#+ (.+)$", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_commands_in_the_docs_exist(page: Path, generate: ModuleType) -> None:
    commands = re.findall(r"## `courseyard ([a-z]+(?: [a-z]+)?)", generate.pages()["commands.md"])
    first = {command.split()[0] for command in commands}
    text = page.read_text(encoding="utf-8")
    for line in re.findall(r"(?m)(?:^|`|&& )courseyard ([a-z][a-z ]*)", text):
        words = line.split()
        assert words[0] in first, f"courseyard {line}"
        if words[0] in ("storage", "images") and len(words) > 1:
            assert " ".join(words[:2]) in commands, f"courseyard {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_settings_in_the_docs_exist(page: Path, generate: ModuleType) -> None:
    settings = set(re.findall(r"(?m)^\| `([a-z_.<>]+)`", generate.pages()["site-file.md"]))
    parts = {name.rpartition(".")[0] for name in settings} | settings
    for name in re.findall(r"`((?:hub|proxy|servers|people|storage)\.[a-z_.]+)`", page.read_text()):
        assert name in parts or name.endswith(".yaml"), name


@pytest.mark.parametrize(
    ("page", "number"),
    [
        (page, number)
        for page in PAGES
        for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text(), re.S))
        if block
    ],
)
def test_yaml_in_the_docs_loads(page: Path, number: int, tmp_path: Path) -> None:
    from courseyard.images.catalog import load_catalog
    from courseyard.registry.watch import Registry
    from courseyard.sitefile import load_site

    block = re.findall(r"```yaml\n(.*?)```", page.read_text(), re.S)[number]
    is_site = any(key in yaml.safe_load(block) for key in ("hub", "proxy", "people", "servers"))
    (tmp_path / "courses").mkdir()
    images = "families: {DEFAULT: {title: P, releases: {2026-08-15: {reference: p:1}}}}\n"
    (tmp_path / "images.yaml").write_text(images)
    (tmp_path / "courseyard.yaml").write_text(block if is_site else "name: X\n")
    if not is_site:
        (tmp_path / "courses" / "example.yaml").write_text(block)
    site = load_site(tmp_path)
    snapshot = Registry(site, load_catalog(site)).refresh()
    assert [str(problem) for problem in snapshot.problems if problem.is_error] == []


def test_nothing_of_this_machine_is_in_the_docs() -> None:
    for page in PAGES:
        assert not re.search(r"/(?:work|root)/|(?<!hub)/home/[a-z]", page.read_text()), page


@pytest.mark.parametrize("kind", ["run", "dev"])
def test_the_lock_files_hold_what_is_asked_for_with_hashes(kind: str) -> None:
    import tomllib

    text = (REPOSITORY / "requirements" / f"{kind}.txt").read_text()
    locked = {_plain(name) for name in re.findall(r"(?m)^([A-Za-z0-9_.-]+)==", text)}
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    wanted = list(project["project"]["dependencies"])
    if kind == "dev":
        wanted += project["dependency-groups"]["dev"]
    missing = {_plain(re.split(r"[^A-Za-z0-9_.-]", name)[0]) for name in wanted} - locked
    assert not missing, "run script/lock"
    assert text.count("--hash=sha256:") >= len(locked)
    assert "://" not in text
    assert "--index" not in text


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
