"""The sandbox for autograding: what a student of the course has, and nothing of anybody's."""

from __future__ import annotations

from courseyard.plan.context import Context
from courseyard.plan.identity import student_identity
from courseyard.plan.model import Grading, Identity, Mount
from courseyard.plan.mounts import COURSE, COURSEDATA, Storage, mount
from courseyard.plan.nbgrader import REHEARSAL_VARIABLE
from courseyard.settings import GRADING_UIDS

#: Who graded code seems to be.
USERNAME = "grader"
HOME = f"/home/{USERNAME}"
_REASON = "students' work may need it when it is graded"


def grading_of(ctx: Context, storage: Storage, environment: dict[str, str]) -> Grading | None:
    """The second sandbox of an instructor's server; None for all others.

    Args:
        storage: of the server.
        environment: of the server.
    """
    if not ctx.teaching or not storage.has(COURSE):
        return None
    return Grading(
        identity=nobodys(student_identity(ctx)),
        mounts=tuple(_mounts(ctx, storage)),
        environment=_environment(environment),
    )


def nobodys(identity: Identity) -> Identity:
    """The same groups under a name and a UID that say nothing of whoever grades, and own nothing.

    Each sandbox takes a UID of its own in the place of this first one (backends/beside.py).
    """
    names = {"username": USERNAME, "full_name": "", "email": "", "home": HOME}
    return identity.model_copy(update={**names, "uid": GRADING_UIDS.start})


def _mounts(ctx: Context, storage: Storage) -> list[Mount]:
    root = ctx.site.storage.public_root
    wanted = (COURSEDATA, f"{root}/shareddata", f"{root}/software")
    return [mount(m.target, m.source, False, _REASON) for m in storage.mounts if m.target in wanted]


def _environment(of_server: dict[str, str]) -> dict[str, str]:
    """Without folders and names of instructors; the course's modules travel with each submission."""
    paths = of_server["PYTHONPATH"].split(":")
    kept = of_server | {"PYTHONPATH": ":".join([p for p in paths if p != f"{COURSE}/pymod"])}
    del kept[REHEARSAL_VARIABLE]
    names = dict.fromkeys(("USER", "LOGNAME", "NB_USER"), USERNAME)
    return kept | names | {"HOME": HOME}
