"""``courseyard.yaml`` → :class:`~courseyard.settings.Site`, with every problem at once."""

from __future__ import annotations

import json
import logging
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from courseyard import sitechecks
from courseyard.errors import Problem, SettingsError, Severity
from courseyard.hints import did_you_mean, shown
from courseyard.settings import FORMS, SITE_FILE, Site
from courseyard.sitechecks import Found
from courseyard.yamlfile import Document, VanishedError, read_yaml

log = logging.getLogger(__name__)

_SITES_OWN = "x-"


def load_site(folder: Path) -> Site:
    """The site of ``folder``; warnings go to the log.

    Raises:
        SettingsError: it cannot be used; ``problems`` says why, as file, line, key and message.
    """
    site, problems = check_site(folder)
    for problem in problems:
        if not problem.is_error:
            log.warning("%s", problem)
    if site is None:
        errors = [str(problem) for problem in problems if problem.is_error]
        text = "\n".join(errors)
        raise SettingsError(f"The site file cannot be used:\n{text}", problems=problems)
    return site


def check_site(folder: Path) -> tuple[Site | None, tuple[Problem, ...]]:
    """The site of ``folder``, None when it cannot be used, and all problems of its file."""
    given, folder = folder, folder.absolute()
    file = folder / SITE_FILE
    try:
        document = read_yaml(file)
    except VanishedError:
        command = f"courseyard init {shlex.quote(str(given))}"
        message = f"there is no site file; make one with `{command}`"
        return None, (Problem(file, 0, "", message),)
    except SettingsError as error:
        return None, error.problems
    problems = list(document.warnings)
    data = {key: v for key, v in document.data.items() if not key.startswith(_SITES_OWN)}
    if "folder" in data:
        del data["folder"]
        problems.append(document.problem(("folder",), "unknown key; the folder is the file's own"))
    nul = [path for path, text in _texts(data) if "\0" in text]
    if nul:
        message = "holds a NUL character, which no path or name may hold"
        problems += [document.problem(path, message) for path in nul]
        return None, _sorted(problems)
    try:
        # By JSON, whose strict mode takes lists for tuples and text for paths, and nothing else.
        site = Site.model_validate_json(json.dumps(data, default=str), strict=True)
    except ValidationError as error:
        problems += _translated(document, error)
        return None, _sorted(problems)
    site = site.model_copy(update={"folder": folder})
    problems += [document.problem(path, message) for path, message in sitechecks.check(site)]
    broken = any(problem.severity is Severity.ERROR for problem in problems)
    return None if broken else site, _sorted(problems)


def _texts(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[Found]:
    """Every text of the file and the place where it stands; keys too."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key), key
            yield from _texts(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index))


def _sorted(problems: list[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(problems, key=lambda problem: problem.line))


# Pydantic's errors in our words


def _translated(document: Document, error: ValidationError) -> list[Problem]:
    problems: dict[tuple[str | int, ...], Problem] = {}
    for found in error.errors(include_url=False):
        path = _place(document.data, found)
        if path[:1] == ("environments",) and path[2:3] == ("image",):
            path, message = path[:3], "write a family such as DEFAULT or [DEFAULT, 2026-09-01]"
        else:
            message = _words(path, found)
        problems.setdefault(path, document.problem(path, message))
    return list(problems.values())


def _place(data: Any, found: ErrorDetails) -> tuple[str | int, ...]:
    """The keys of the file that ``loc`` starts with; a union adds names of types to it."""
    path: list[str | int] = []
    for step in found["loc"]:
        inside = isinstance(data, dict) and step in data
        if not inside and not (isinstance(data, list) and isinstance(step, int)):
            break
        path.append(step)
        data = data[step] if not isinstance(step, int) or step < len(data) else None
    return tuple(path)


def _words(path: tuple[str | int, ...], found: ErrorDetails) -> str:
    kind, context = found["type"], found.get("ctx", {})
    value = found["input"]
    if kind == "extra_forbidden":
        known = _known_keys(path[:-1])
        more = f"; known are {', '.join(known)}, and keys of the site's own that start with x-"
        hint = did_you_mean(
            str(path[-1]), known, more if len(path) == 1 else more.split(", and")[0]
        )
        return f"unknown key{hint}"
    if kind == "missing":
        return f"`{found['loc'][-1]}` is missing"
    if kind in ("value_error", "assertion_error"):
        return str(context.get("error", found["msg"]))
    if kind == "literal_error":
        words = re.findall(r"'([^']*)'", str(context["expected"]))
        return f"must be one of {', '.join(words)}{did_you_mean(str(value), words)}"
    if kind.startswith("int"):
        digits = isinstance(value, str) and value.strip().isdigit()
        return "must be a whole number" + ("; remove the quotes" if digits else "")
    if kind.startswith("greater_than"):
        return f"must be at least {context.get('ge', context.get('gt'))}"
    if kind.startswith("less_than"):
        return f"must be at most {context.get('le', context.get('lt'))}"
    if kind == "string_pattern_mismatch":
        return f"{shown(value)} is not {FORMS[context['pattern']]}"
    if kind == "string_too_long":
        return f"is longer than {context['max_length']} characters"
    if kind == "string_too_short":
        return "is empty"
    if value is None:
        return "has no value; write one or leave the key out"
    plain = {
        "string_type": f"must be text; put {shown(value)} in quotes",
        "path_type": f"must be a path; put {shown(value)} in quotes",
        "bool_type": "must be true or false",
        "bool_parsing": "must be true or false",
        "tuple_type": "must be a list",
        "list_type": "must be a list",
        "dict_type": "must hold `key: value` lines",
        "model_type": "must hold `key: value` lines",
        "model_attributes_type": "must hold `key: value` lines",
    }
    return plain.get(kind, found["msg"])


def _known_keys(path: tuple[str | int, ...]) -> list[str]:
    """Keys that the file may hold at ``path``."""
    kind: Any = Site
    for step in path:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = kind.model_fields[str(step)].annotation
        else:  # dict[str, Model] or tuple[Model, ...]
            kind = next((arg for arg in get_args(kind) if hasattr(arg, "model_fields")), None)
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return []
    return [name for name in kind.model_fields if (kind, name) != (Site, "folder")]
