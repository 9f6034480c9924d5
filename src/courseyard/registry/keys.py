"""The table of a course file's keys: parser, form for editors, and meaning for people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from courseyard.registry import fields
from courseyard.registry.override import override
from courseyard.registry.reader import Reader, Where

Schema = dict[str, Any]

_FLAG: Schema = {"type": "boolean"}
_TEXT: Schema = {"type": "string"}
_NAMES: Schema = {
    "oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
}
_ID: Schema = {"type": "integer", "minimum": 1000, "maximum": fields.HIGHEST_ID}
_DATE: Schema = {"type": "string", "pattern": r"^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?$"}
_IMAGE: Schema = {
    "oneOf": [
        {"type": "string", "maxLength": 255},
        {
            "type": "array",
            "prefixItems": [{"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_]*$"}, _DATE],
            "minItems": 2,
            "maxItems": 2,
        },
    ],
}
_GROUPS: Schema = {
    "type": "array",
    "items": {
        "type": "array",
        "prefixItems": [{"type": "string"}, _ID],
        "minItems": 2,
        "maxItems": 2,
    },
}
_TIMES: Schema = {
    "oneOf": [
        {"type": "string"},
        {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"day": _TEXT, "from": _TEXT, "to": _TEXT},
                "required": ["day", "from", "to"],
                "additionalProperties": False,
            },
        },
    ],
}


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the course file."""

    parse: Callable[[Reader, Where, Any], Any]
    schema: Schema
    text: str


#: Filled in by :mod:`courseyard.registry.schema`, which knows the keys of the override.
_OVERRIDE: Schema = {"$ref": "#/$defs/override"}

KEYS: dict[str, Key] = {
    "name": Key(
        fields.title,
        {"type": "string", "minLength": 1, "maxLength": fields.MAX_TITLE},
        "Title shown to people; plain text on one line. Without it the slug is shown.",
    ),
    "uid": Key(fields.course_id, _ID, "Owner of the course's files; root without it."),
    "gid": Key(
        fields.course_id, _ID, "Group of the course's files. Without it, no course directories."
    ),
    "supervisor": Key(fields.contacts, _NAMES, "Who is responsible: e-mail or username."),
    "contact": Key(fields.contacts, _NAMES, "Whom to ask: e-mail or username."),
    "manager": Key(fields.contacts, _NAMES, "Who may change the instructors."),
    "instructors": Key(
        fields.usernames, _NAMES, "Usernames, added to those of the institution's course group."
    ),
    "students": Key(fields.usernames, _NAMES, "Usernames of listed students."),
    "private": Key(
        fields.flag,
        _FLAG,
        "Hidden from all but instructors, listed students, test students and administrators.",
    ),
    "archive": Key(
        fields.flag, _FLAG, "Offered to nobody; files are read-only for the instructors."
    ),
    "public_date": Key(fields.moment, _DATE, "When everyone starts to see the course."),
    "private_date": Key(fields.moment, _DATE, "When it is hidden again."),
    "archive_date": Key(fields.moment, _DATE, "When it is archived."),
    "delete_date": Key(
        fields.moment, _DATE, "When its people are asked whether it can be deleted."
    ),
    "start_date": Key(fields.moment, _DATE, "First day of teaching; for information."),
    "end_date": Key(fields.moment, _DATE, "Last day of teaching; for information."),
    "course_times": Key(
        fields.course_times,
        _TIMES,
        'Text, or a list of {day: Mon, from: "10:15", to: "12:00"}; for information.',
    ),
    "default": Key(fields.flag, _FLAG, "Preselected in the list of courses."),
    "datadir": Key(fields.flag, _FLAG, "The course has /coursedata, which students read."),
    "datadir_readwrite": Key(fields.flag, _FLAG, "Students may write to /coursedata."),
    "restrict_submit": Key(
        fields.flag, _FLAG, "Only listed students and instructors may write to the exchange."
    ),
    "coursedir_slug": Key(fields.other_slug, _TEXT, "Use the directories of this other course."),
    "image": Key(
        fields.image,
        _IMAGE,
        "A family (always its newest release), `[family, date]` (its newest release on or before "
        "that day) or an image reference.",
    ),
    "image_instructor": Key(fields.image, _IMAGE, "The same, for instructor servers."),
    "kubespawner_override": Key(override, _OVERRIDE, "Limits and other settings of its servers."),
    "jupyterlab": Key(fields.flag, _FLAG, "False: the classic notebook interface."),
    "nbgrader_config": Key(
        fields.config_text, _TEXT, "Lines of nbgrader configuration, written by administrators."
    ),
    "student_umask": Key(
        fields.umask,
        {"type": "string", "pattern": "^0{0,2}[0-7]{1,2}$"},
        'Umask of student servers, in quotes: "0027".',
    ),
    "create_userdata": Key(
        fields.flag, _FLAG, "Each student gets /coursedata/users/<username>, mode 0750."
    ),
    "extra_instructor_groups": Key(
        fields.groups, _GROUPS, "`[[name, gid], …]` added to instructor servers."
    ),
    "extra_student_groups": Key(
        fields.groups, _GROUPS, "`[[name, gid], …]` added to student servers."
    ),
}
#: Keys of `<slug>-users.yaml`.
USERS_KEYS = ("instructors", "students")
