"""A course's nbgrader configuration as data (DOMAIN.md, nbgrader).

``Exchange.course_id`` is not written: nbgrader 0.9 takes it for ``CourseDirectory.course_id`` and
warns at every command (nbgrader/apps/baseapp.py).
"""

from __future__ import annotations

from typing import Any

from courseyard.access import Role
from courseyard.plan.context import Context
from courseyard.plan.model import Nbgrader
from courseyard.plan.mounts import COURSE, EXCHANGE, NOTEBOOKS, PEOPLE

#: Instructors try out release, fetch, submit and collect here:
#: ``nbgrader list --Exchange.root=$NBGRADER_REHEARSAL_EXCHANGE``.
REHEARSAL = f"{COURSE}/test-instructor-exchange"
REHEARSAL_VARIABLE = "NBGRADER_REHEARSAL_EXCHANGE"
#: Read at the start of instructor servers alone; instructors write it.
APPEND_FILE = f"{COURSE}/etc.jupyter.nbgrader_config.py.append"
#: Instead of nbgrader's own, which follows links and believes names (singleuser/courseyard_nbgrader).
COLLECT = "courseyard_nbgrader.collect.ExchangeCollect"
#: By one instructor at a time.
RELEASE = {
    "release_assignment": "courseyard_nbgrader.hand_out.ExchangeReleaseAssignment",
    "release_feedback": "courseyard_nbgrader.hand_out.ExchangeReleaseFeedback",
}
#: The same for everybody: whole or not at all.
EXCHANGE_PARTS = {
    "fetch_assignment": "courseyard_nbgrader.fetch.ExchangeFetchAssignment",
    "fetch_feedback": "courseyard_nbgrader.fetch.ExchangeFetchFeedback",
    "list": "courseyard_nbgrader.fetch.ExchangeList",
    "submit": "courseyard_nbgrader.submit.ExchangeSubmit",
}
#: nbgrader's own list (nbgrader/converters/autograde.py), with the kernel in a sandbox of its own, and points
#: that students' code does not choose.
AUTOGRADE = (
    "courseyard_nbgrader.execute.Execute",
    "nbgrader.preprocessors.IgnorePattern",
    "nbconvert.preprocessors.ClearMetadataPreprocessor",
    "nbgrader.preprocessors.LimitOutput",
    "courseyard_nbgrader.points.SaveAutoGrades",
    "nbgrader.preprocessors.AssignLatePenalties",
    "nbgrader.preprocessors.CheckCellMetadata",
)
_TIMEOUT = 240  # seconds that one cell may run
_MAX_FILE_SIZE = 30_000  # kB
_IGNORE = (".ipynb_checkpoints", "*.pyc", "__pycache__", "feedback", ".*")


def nbgrader_of(ctx: Context) -> Nbgrader | None:
    """The configuration of a course's server; None where nbgrader has nothing to work on."""
    if ctx.course is None or not ctx.course.has_directories:
        ctx.reasons["nbgrader"] = "switched off: there is no course directory"
        return None
    home = ctx.home_of(ctx.course)
    if home.slug != ctx.course.slug:
        ctx.reasons["nbgrader"] = f"`coursedir_slug`: the assignments are those of {home.slug}"
    teaching = ctx.role is Role.INSTRUCTOR
    return Nbgrader(
        config=_config(ctx, home.slug, teaching),
        extra_lines=ctx.course.nbgrader_config,
        fixed=fixed() if teaching else {},
        append_file=APPEND_FILE if teaching else "",
        rehearsal_exchange=REHEARSAL if teaching else "",
        formgrader=teaching,
        create_assignment=teaching,
        assignment_list=True,
        validate_assignment=True,
    )


def _config(ctx: Context, slug: str, teaching: bool) -> dict[str, dict[str, Any]]:
    directory: dict[str, Any] = {
        "root": COURSE,
        "course_id": slug,
        "groupshared": True,
        "ignore": list(_IGNORE),
        "max_file_size": _MAX_FILE_SIZE,
    }
    if teaching:
        # Without the time-out, instructors working at once meet "database is locked".
        directory["db_url"] = f"sqlite:///{COURSE}/gradebook.db?timeout=60"
    shown = {"timezone": ctx.site.timezone, "timestamp_format": "%Y-%m-%d %H:%M"}
    return {
        "CourseDirectory": directory,
        **({"NbGraderAPI": shown} if teaching else {}),
        "Exchange": {
            "root": EXCHANGE,
            "assignment_dir": f"{NOTEBOOKS}/",
            "path_includes_course": True,
            "timezone": ctx.site.timezone,
        },
        "ExchangeFactory": dict(EXCHANGE_PARTS),
        "Execute": {"timeout": _TIMEOUT},
        "Validator": {"validate_all": True},
    }


def fixed(people: str = PEOPLE) -> dict[str, dict[str, Any]]:
    """What no line of a file takes back: students would have the gain, not who wrote the line.

    Args:
        people: folder inside that knows who has started as a student.
    """
    return {
        "ExchangeFactory": {"collect": COLLECT, **RELEASE},
        "ExchangeCollect": {"people": people},
        "Autograde": {"autograde_preprocessors": list(AUTOGRADE)},
    }
