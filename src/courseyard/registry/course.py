"""A course as its file says it: frozen, unknown keys refused.

The keys keep the names of the seed system, whose files load unchanged (DOMAIN.md, The course file).
"""

from __future__ import annotations

import hashlib
from datetime import datetime, time
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from courseyard.images.model import ImageWish
from courseyard.settings import LOWEST_ID
from courseyard.units import Bytes, Cores, Seconds

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class Part(BaseModel):
    """Base of a course and its parts."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class CourseTime(Part):
    """One weekly session, in the site's time zone."""

    day: Day
    from_: time
    to: time


class Override(Part):
    """The keys of ``kubespawner_override`` that a course file may use (DOMAIN.md)."""

    cpu_limit: Cores | None = None
    cpu_guarantee: Cores | None = None
    mem_limit: Bytes | None = None
    mem_guarantee: Bytes | None = None
    extra_resource_limits: dict[str, str] = Field(default_factory=dict)
    extra_resource_guarantees: dict[str, str] = Field(default_factory=dict)
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: tuple[dict[str, Any], ...] = ()
    node_affinity_required: tuple[dict[str, Any], ...] = ()
    node_affinity_preferred: tuple[dict[str, Any], ...] = ()
    priority_class_name: str | None = None
    environment: dict[str, str] = Field(default_factory=dict)
    image: ImageWish | None = None
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    default_url: str | None = None
    start_timeout: Seconds | None = None
    http_timeout: Seconds | None = None
    cull_inactive_time: Seconds | None = None
    cull_max_age: Seconds | None = None
    #: Keys beyond the list that the site allows by ``servers.allow_override``.
    site_allowed: dict[str, Any] = Field(default_factory=dict)


Id = Annotated[int, Field(ge=LOWEST_ID, le=2**31 - 1)]


class Course(Part):
    """A course. Lists of people are those of the files; groups of the institution add to them."""

    slug: str
    name: str
    uid: int = 0  # owner of the course's files; root unless the file names one
    gid: Id | None = None  # None: the course has no directories
    supervisor: tuple[str, ...] = ()
    contact: tuple[str, ...] = ()
    manager: tuple[str, ...] = ()
    instructors: frozenset[str] = frozenset()
    students: frozenset[str] = frozenset()
    private: bool = False
    archive: bool = False
    public_date: datetime | None = None  # aware; all four dates act (see lifecycle)
    private_date: datetime | None = None
    archive_date: datetime | None = None
    delete_date: datetime | None = None
    start_date: datetime | None = None
    end_date: datetime | None = None
    course_times: str | tuple[CourseTime, ...] | None = None
    default: bool = False
    datadir: bool = False
    datadir_readwrite: bool = False
    restrict_submit: bool = False
    coursedir_slug: str | None = None
    image: ImageWish = ImageWish(family="DEFAULT")
    image_instructor: ImageWish | None = None
    kubespawner_override: Override = Override()
    jupyterlab: bool = True
    nbgrader_config: str = ""
    student_umask: int | None = None  # bits, such as 0o027
    create_userdata: bool = False
    extra_instructor_groups: tuple[tuple[str, int], ...] = ()
    extra_student_groups: tuple[tuple[str, int], ...] = ()
    #: The site's own keys, ``x-…``: carried, never read by us.
    extensions: dict[str, Any] = Field(default_factory=dict)
    file: Path = Path()
    #: False: the ``-users.yaml`` beside it cannot be read and no good version is known.
    complete: bool = True

    @property
    def has_directories(self) -> bool:
        return self.gid is not None

    @property
    def directory_slug(self) -> str:
        """The slug whose directories this course uses."""
        return self.coursedir_slug or self.slug


def server_name(slug: str, *, instructor: bool) -> str:
    """The named server of a course and role.

    JupyterHub 6 takes names of 1 to 30 characters ``[a-z0-9-]`` that start with a letter, end
    with a letter or digit and hold no ``--`` (jupyterhub/slugs.py); a slug that does not fit is
    cut and told apart by a hash of itself.
    """
    wanted = f"{slug}-instructor" if instructor else slug
    plain = wanted.replace("_", "-")
    fits = (
        plain == wanted
        and len(wanted) <= 30
        and wanted[0].isalpha()
        and not wanted.endswith("-")
        and "--" not in wanted
    )
    if fits:
        return wanted
    digest = hashlib.sha256(wanted.encode()).hexdigest()[:8]
    stem = plain if plain[0].isalpha() else f"c{plain}"
    while "--" in stem:
        stem = stem.replace("--", "-")
    return f"{stem[:21].rstrip('-')}-{digest}"


def general_server_name(environment: str) -> str:
    """The named server of a general environment, such as ``general-python-env``.

    No course has it: the registry refuses slugs that start with ``general-`` and end in ``-env``.
    """
    return f"general-{environment}-env"
