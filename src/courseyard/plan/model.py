"""ServerPlan: everything about one server, as frozen data that serialises to JSON.

Nothing here knows about bubblewrap or Kubernetes: sources of mounts are paths below the storage
root (a folder on one machine, a claim with a ``subPath`` in a cluster).
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from courseyard.access import Role


class PlanPart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GroupEntry(PlanPart):
    name: str
    gid: int
    reason: str


class Identity(PlanPart):
    """Who the server's processes are."""

    username: str
    full_name: str
    email: str
    uid: int
    gid: int  # the primary group of the server's processes
    group: str  # its name
    supplementary: tuple[GroupEntry, ...] = ()
    umask: int  # bits, such as 0o022
    home: str  # absolute; new at every start


class Mount(PlanPart):
    """A part of the storage seen inside a server."""

    target: str  # absolute path inside
    source: str  # relative to the storage root, no leading slash, no ".."
    writable: bool
    reason: str


class StorageKind(StrEnum):
    USER = "user"  # u/<NN>/<username>
    COURSE = "course"  # course/<slug>, files, and data when `datadir`
    EXCHANGE = "exchange"  # exchange/<slug> with inbound, outbound, feedback
    COURSE_USERDATA = "course-userdata"  # course/<slug>/data/users/<username>
    COURSE_MEMBER = "course-member"  # course/<slug>/people/<uid>.<username>, where UIDs are real
    SITE = "site"  # shareddata, software


class StorageNeed(PlanPart):
    """A folder tree that must exist, with the right owners and modes, before the server starts."""

    kind: StorageKind
    slug: str = ""  # of the course whose directories these are
    username: str = ""
    uid: int = 0  # owner: the user's, or the course's
    gid: int = 0
    datadir: bool = False
    datadir_writable: bool = False  # by students
    gradebook: bool = False  # make gradebook.db 0660 before SQLite makes it 0640


class HomeLink(PlanPart):
    """``home/<path>`` → ``/notebooks/.home/<path>``."""

    path: str  # relative to the home directory
    folder: bool


class PlanImage(PlanPart):
    """The software of a server: one release of a family, or a bare reference."""

    reference: str  # name shown to people and used by Kubernetes
    family: str = ""
    released: str = ""  # ISO date
    path: Path | None = None  # the directory, where the sandbox runs it


class Limits(PlanPart):
    mem_limit: int  # bytes
    mem_guarantee: int  # bytes
    cpu_limit: float  # cores
    cpu_guarantee: float  # cores
    processes: int
    tmp_size: int  # bytes, of /tmp and of the home directory, each
    shm_size: int  # bytes
    extra_limits: dict[str, str] = Field(default_factory=dict)  # such as nvidia.com/gpu: "1"
    extra_guarantees: dict[str, str] = Field(default_factory=dict)


class Culling(PlanPart):
    inactive: int  # seconds
    max_age: int  # seconds


class Nbgrader(PlanPart):
    """nbgrader's configuration as data; the start program writes it inside the server."""

    config: dict[str, dict[str, Any]] = Field(default_factory=dict)  # class → trait → value
    extra_lines: str = ""  # the course file's `nbgrader_config`, written by administrators
    fixed: dict[str, dict[str, Any]] = Field(default_factory=dict)  # the same, after all files
    append_file: str = ""  # path inside; read in instructor servers alone
    rehearsal_exchange: str = ""  # path inside; instructors try a release there, unseen by students
    # Which of nbgrader's parts the server shows:
    formgrader: bool = False
    create_assignment: bool = False
    assignment_list: bool = False
    validate_assignment: bool = False


class Grading(PlanPart):
    """The second sandbox of an instructor's server: what runs students' code when it is autograded.

    Software and limits are the server's; it has no network and its folders are read-only.
    """

    identity: Identity  # a student's groups; the UID stands for one of settings.GRADING_UIDS
    mounts: tuple[Mount, ...]
    environment: dict[str, str]


class Kubernetes(PlanPart):
    """What only a cluster needs; the sandbox does not read it."""

    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: tuple[dict[str, Any], ...] = ()
    node_affinity_required: tuple[dict[str, Any], ...] = ()
    node_affinity_preferred: tuple[dict[str, Any], ...] = ()
    priority_class_name: str | None = None
    image_pull_policy: str | None = None
    site_allowed: dict[str, Any] = Field(default_factory=dict)


class ServerPlan(PlanPart):
    """Everything about one server. Holds no secret: tokens travel beside it."""

    version: Literal[1] = 1
    site: str
    course: str = ""  # slug; "" for a general server
    title: str  # what people call it: the course's name or the environment's
    role: Role
    server_name: str  # JupyterHub's named server
    image: PlanImage
    identity: Identity
    mounts: tuple[Mount, ...]  # parents before children
    storage: tuple[StorageNeed, ...]
    environment: dict[str, str]
    home_links: tuple[HomeLink, ...]
    nbgrader: Nbgrader | None = None  # None: nbgrader is switched off
    grading: Grading | None = None  # None: nothing is graded in this server
    limits: Limits
    culling: Culling
    network: Literal["none", "full"]
    labels: dict[str, str]
    own_folder: str = "/notebooks"  # with .home, for the links of the home directory
    start_folder: str = "/notebooks"  # where pages of files open
    default_url: str = "/lab"
    start_timeout: int  # seconds
    http_timeout: int  # seconds
    kubernetes: Kubernetes = Kubernetes()
    #: Why a line is as it is: "limits.mem_limit" → sentence; mounts and groups carry their own.
    reasons: dict[str, str] = Field(default_factory=dict)

    def to_json(self, indent: int | None = 2) -> str:
        """The plan as JSON with sorted keys nowhere and fields in the order above."""
        return self.model_dump_json(indent=indent)

    @classmethod
    def from_json(cls, text: str | bytes) -> ServerPlan:
        """The plan of :meth:`to_json`.

        Raises:
            pydantic.ValidationError: when the text is not a plan.
        """
        return cls.model_validate_json(text)
