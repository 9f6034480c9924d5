"""Write ``docs/reference`` from the code. ``script/docs`` runs it; a test compares.

What has no description in the code fails here, so nothing is left undocumented.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer.main
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from typer.core import TyperArgument, TyperGroup, TyperOption

from courseyard import errors
from courseyard.access import Target
from courseyard.cli.app import app
from courseyard.images.catalog import load_catalog
from courseyard.people.static import load_people
from courseyard.plan.build import Known, plan_server
from courseyard.registry.keys import KEYS, USERS_KEYS
from courseyard.registry.override import PARSERS
from courseyard.registry.watch import Registry
from courseyard.settings import Site
from courseyard.sitefile import load_site
from courseyard.units import format_bytes, format_duration

REFERENCE = Path(__file__).parent / "reference"
_MADE = "<!-- Made by script/docs from the code. Do not edit. -->\n"


class UndocumentedError(Exception):
    """A setting, key or command has no description."""


def pages() -> dict[str, str]:
    """File name → content of every page of the reference."""
    return {
        "README.md": _index(),
        "site-file.md": _site_file(),
        "course-file.md": _course_file(),
        "servers.md": _servers(),
        "commands.md": _commands(),
        "errors.md": _errors(),
    }


def _index() -> str:
    return f"""{_MADE}# Reference

- [The site file](site-file.md): every setting of `courseyard.yaml`
- [Course files](course-file.md): every key of `courses/<slug>.yaml`
- [Inside a server](servers.md): paths, rights, environment, as in the example university
- [Commands](commands.md): `courseyard …`
- [Errors](errors.md): reason codes, as they stand in logs
"""


# --- courseyard.yaml --------------------------------------------------------------------------


def _site_file() -> str:
    lines = [
        _MADE + "# The site file",
        "",
        "`courseyard.yaml` in the site's folder. Every setting has a default; unknown ones are refused "
        "with the nearest known name, except those that start with `x-`, which are the site's own. "
        "Relative paths are relative to the site's folder. After a change run `courseyard check`; the "
        "hub reads the file when it starts.",
    ]
    lines += _settings(Site, "", None)
    return "\n".join(lines) + "\n"


def _settings(model: type[BaseModel], prefix: str, given: BaseModel | None) -> Iterator[str]:
    """The table of a part; ``given`` holds its defaults where the part as a whole has one."""
    rows, parts = [], []
    for name, info in model.model_fields.items():
        if isinstance(info.json_schema_extra, dict) and info.json_schema_extra.get("internal"):
            continue
        if not info.description:
            raise UndocumentedError(f"setting {prefix}{name} has no description")
        inner = _inner(info.annotation)
        if inner is not None:
            star = "<key>." if "dict" in str(info.annotation) else ""
            part = info.get_default(call_default_factory=True)
            whole = part if isinstance(part, BaseModel) else None
            parts.append((f"{prefix}{name}.{star}", info.description, inner, whole))
            if not star:
                continue
        rows.append(
            (f"`{prefix}{name}`", _default(info, getattr(given, name, None)), info.description)
        )
    if rows:
        yield from ("", "| setting | default | meaning |", "| --- | --- | --- |")
        yield from (f"| {name} | {default} | {_cell(text)} |" for name, default, text in rows)
    for path, text, inner, whole in parts:
        yield from ("", f"## `{path.rstrip('.')}`", "", text)
        yield from _settings(inner, path, whole)


def _inner(annotation: Any) -> type[BaseModel] | None:
    """The model that a setting holds, itself or as the values of a mapping."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return annotation
    if getattr(annotation, "__origin__", None) is dict:
        return _inner(annotation.__args__[1])
    return None


def _default(info: Any, given: Any) -> str:
    value = info.get_default(call_default_factory=True)
    if value is PydanticUndefined and given is None:
        return "needed"
    value = given if value is PydanticUndefined else value
    units = {
        getattr(item, "func", None).__name__ for item in info.metadata if hasattr(item, "func")
    }
    if "parse_bytes" in units and isinstance(value, int):
        return f"{format_bytes(value)}"
    if "parse_duration" in units and isinstance(value, int):
        return f"{format_duration(value)}"
    if value is None or value == () or value == {} or value == "":
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, dict):
        return ", ".join(f"`{key}`" for key in value)
    if isinstance(value, tuple):
        return ", ".join(f"`{each}`" for each in value)
    return f"`{_cell(str(value))}`"


# --- course files -----------------------------------------------------------------------------


def _course_file() -> str:
    lines = [
        _MADE + "# Course files",
        "",
        "One course is one file `courses/<slug>.yaml`. The slug names it in paths, links and servers: "
        "small letters, digits, `-` and `_`, at most 40. A change takes effect when the file is saved. "
        "A file with an error leaves its last good version in force; `courseyard check` says what is "
        "wrong. Keys that start with `x-` are the site's own and are carried unread.",
        "",
        "| key | meaning |",
        "| --- | --- |",
    ]
    for name, key in KEYS.items():
        if not key.text:
            raise UndocumentedError(f"course key {name} has no description")
        lines.append(f"| `{name}` | {_cell(key.text)} |")
    lines += [
        "",
        "## `<slug>-users.yaml`",
        "",
        f"A file beside it, written by machines, may hold {_list(USERS_KEYS)} alone; they are added "
        "to those of the course file.",
        "",
        "## `kubespawner_override`",
        "",
        f"Takes {_list(PARSERS)}. A site allows more by `servers.allow_override`.",
        "",
        "## Dates and flags",
        "",
        "`archive: true` archives whatever the dates say. Otherwise the latest of the dates that "
        "have passed decides, and before any has passed the flags do. A `public_date` that is still "
        "to come hides the course until then. A date acts from 00:00 of the site's time zone.",
        "",
        "## `image`",
        "",
        "A family from `images.yaml` (`DEFAULT`: always its newest release), `[family, date]` (the "
        "newest release on or before that day, so that a course keeps its software), or an image "
        "reference.",
    ]
    return "\n".join(lines) + "\n"


def _list(names: Any) -> str:
    each = [f"`{name}`" for name in names]
    return f"{', '.join(each[:-1])} and {each[-1]}" if len(each) > 1 else each[0]


# --- inside a server ---------------------------------------------------------------------------

_DAY = datetime(2026, 10, 1, 12, tzinfo=UTC)
_SERVERS = (
    ("A student's server of a course", "maija", "algo2026"),
    ("An instructor's server of a course", "ada", "algo2026-instructor"),
    ("A general server of somebody who teaches", "ada", "general"),
)


def _servers() -> str:
    site = load_site(Path(__file__).parents[1] / "examples" / "university")
    catalog = load_catalog(site)
    known = Known(courses=Registry(site, catalog).refresh().courses, catalog=catalog)
    people = load_people(site.path(site.people.file), site.people)
    lines = [
        _MADE + "# Inside a server",
        "",
        "What servers of the example university see. `courseyard plan USER COURSE` says it for any "
        "person and course. The home directory is new at every start; what must persist lies in "
        "`/notebooks`. Environment variables are the same in all three but for the course's.",
    ]
    for title, name, target in _SERVERS:
        plan = plan_server(site, known, people[name], Target.parse(target), _DAY)
        who = plan.identity
        groups = ", ".join(f"`{group.name}`" for group in who.supplementary) or "none"
        lines += ["", f"## {title}", ""]
        lines.append(
            f"Primary group `{who.group}`, umask `{who.umask:04o}`, more groups: {groups}."
        )
        lines += ["", "| path | rights | why |", "| --- | --- | --- |"]
        for mount in plan.mounts:
            rights = "read, write" if mount.writable else "read"
            lines.append(f"| `{mount.target}` | {rights} | {_cell(mount.reason)} |")
        lines += [
            "",
            "Variables: " + ", ".join(f"`{key}`" for key in sorted(plan.environment)) + ".",
        ]
        kept = ", ".join(f"`~/{link.path}`" for link in plan.home_links)
        lines.append(f"Kept from the home directory: {kept}.")
    return "\n".join(lines) + "\n"


# --- commands ---------------------------------------------------------------------------------


def _commands() -> str:
    group = typer.main.get_command(app)
    lines = [
        _MADE + "# Commands",
        "",
        "`DIR` is the site's folder: the current one, or what `COURSEYARD_SITE` names. Exit status: 0 "
        "when all is well, 1 after an error (one sentence says which), 2 for wrong arguments. Output "
        "is plain when piped. `courseyard --install-completion` completes commands and courses in "
        "your shell.",
        "",
        *_options(group),
    ]
    lines += _command_lines(group, "courseyard")
    return "\n".join(lines) + "\n"


def _command_lines(group: Any, path: str) -> Iterator[str]:
    for name, command in group.commands.items():
        full = f"{path} {name}"
        if isinstance(command, TyperGroup):
            yield from _command_lines(command, full)
            continue
        if not command.help:
            raise UndocumentedError(f"command {full} has no help")
        words = [_usage(param) for param in command.params if isinstance(param, TyperArgument)]
        yield from ("", f"## `{' '.join([full, *words])}`", "", inspect.cleandoc(command.help), "")
        yield from _arguments(command, full)
        yield from _options(command, full)


def _usage(param: Any) -> str:
    name = param.metavar or param.name.upper()
    return name if param.required else f"[{name}]"


def _arguments(command: Any, full: str) -> Iterator[str]:
    for param in command.params:
        if isinstance(param, TyperArgument):
            if not param.help:
                raise UndocumentedError(f"argument {param.name} of {full} has no help")
            yield f"- `{param.metavar or param.name.upper()}`: {param.help}"


def _options(command: Any, full: str = "courseyard") -> Iterator[str]:
    for param in command.params:
        if isinstance(param, TyperOption):
            if not param.help:
                raise UndocumentedError(f"option {param.name} of {full} has no help")
            value = "" if param.is_flag else f" {param.metavar or 'VALUE'}"
            names = ", ".join(param.opts)
            yield f"- `{names}{value}`: {param.help}"


# --- errors -----------------------------------------------------------------------------------


def _errors() -> str:
    lines = [
        _MADE + "# Errors",
        "",
        "A page shows a sentence, a next step and an id; the log has the same id, the reason code "
        "and the cause.",
        "",
        "| reason code | meaning |",
        "| --- | --- |",
    ]
    for kind in _kinds(errors.CourseyardError):
        text = re.search(rf"{kind.__name__} +(.+)", errors.__doc__ or "")
        if text is None:
            raise UndocumentedError(f"{kind.__name__} is missing from the tree in errors.py")
        lines.append(f"| `{kind.reason}` | {_cell(text[1].strip())} |")
    return "\n".join(lines) + "\n"


def _kinds(kind: type[errors.CourseyardError]) -> Iterator[type[errors.CourseyardError]]:
    for each in kind.__subclasses__():
        if each.__module__ == errors.__name__:
            yield each
            yield from _kinds(each)


def _cell(text: str) -> str:
    """``text`` for one cell of a table; what is not code must not read as HTML."""
    parts = " ".join(text.replace("|", r"\|").split()).split("`")
    parts[::2] = [part.replace("<", "&lt;") for part in parts[::2]]
    return "`".join(parts)


if __name__ == "__main__":
    try:
        made = pages()
    except UndocumentedError as error:
        sys.exit(f"{error}: describe it in the code.")
    REFERENCE.mkdir(exist_ok=True)
    for name, content in made.items():
        (REFERENCE / name).write_text(content, encoding="utf-8")
        print(f"docs/reference/{name}")
