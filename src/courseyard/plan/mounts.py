"""What of the storage a server sees, and which folders must exist for it.

The one place that knows which parts of DOMAIN.md's "On disk" lie where inside a server.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple

from courseyard.access import CLOSED, Action, Role
from courseyard.errors import PlanError
from courseyard.people.person import Person
from courseyard.plan.context import Context
from courseyard.plan.model import Mount, StorageKind, StorageNeed
from courseyard.registry.course import Course

NOTEBOOKS = "/notebooks"
COURSE = "/course"
COURSEDATA = "/coursedata"
EXCHANGE = "/srv/nbgrader/exchange"
PEOPLE = "/srv/nbgrader/people"


@dataclass(frozen=True, slots=True)
class Storage:
    """The mounts of a server and the folders that must be there first."""

    mounts: tuple[Mount, ...]  # parents before children
    needs: tuple[StorageNeed, ...]

    def has(self, target: str) -> bool:
        for each in self.mounts:  # noqa: SIM110 (half the time of any(), and asked in every plan)
            if each.target == target:
                return True
        return False


def user_source(person: Person) -> str:
    """The user's own area below the storage root: ``u/<NN>/<username>``."""
    return f"u/{person.uid % 100:02d}/{person.username}"


def storage_of(ctx: Context) -> Storage:
    """All mounts and needs of one server.

    Raises:
        PlanError: the directories of another course that this one uses are not known.
    """
    person, site = ctx.person, ctx.site
    root = site.storage.public_root
    users = site.people.users_group.gid
    parts = [_everyones(root, person.username, person.uid, user_source(person), users)]
    if ctx.course is not None and ctx.course.has_directories:
        home = ctx.home_of(ctx.course)
        parts.append(_of_course(_facts(ctx, ctx.course, home)))
    if ctx.role is not Role.STUDENT:
        parts += _taught(ctx, root)
    mounts = [mount for part in parts for mount in part.mounts]
    mounts.sort(key=attrgetter("target"))  # a parent is the beginning of its children
    return Storage(tuple(mounts), _once([need for part in parts for need in part.needs]))


def _once(needs: list[StorageNeed]) -> tuple[StorageNeed, ...]:
    """Each course's folder once, as the first need of it says: the course's own knows more."""
    made: set[str] = set()
    kept = []
    for need in needs:
        if need.kind is StorageKind.COURSE:
            if need.slug in made:
                continue
            made.add(need.slug)
        kept.append(need)
    return tuple(kept)


# The parts below are kept between plans: nothing in them can change, and making them takes longer
# than the rest of a plan. What they rest on is decided before and handed in.
@lru_cache(maxsize=8192)
def _everyones(root: str, username: str, uid: int, own: str, users: int) -> Storage:
    return Storage(
        (
            mount(NOTEBOOKS, own, True, "your own files; they stay when the course is over"),
            mount(f"{root}/{own}", own, True, "your own files at the path of the shell servers"),
            mount(
                f"{root}/shareddata", "shareddata", True, "data of the site, by file permissions"
            ),
            mount(f"{root}/software", "software", False, "software of the site"),
        ),
        (
            StorageNeed(kind=StorageKind.SITE, gid=users),
            StorageNeed(kind=StorageKind.USER, uid=uid, gid=users, username=username),
        ),
    )


class _Facts(NamedTuple):
    """What decides the storage of a course in a server of it."""

    slug: str  # of the course whose directories these are, itself but for a variant
    uid: int
    gid: int
    of_other: bool  # a variant: the directories are another course's
    closed: bool  # and that course is archived
    teaching: bool
    may_submit: bool
    datadir: bool
    home_datadir: bool  # whether the course that owns the directories has one
    datadir_writable: bool  # by students
    home_datadir_writable: bool
    own_userdata: bool
    username: str
    user_uid: int


def _facts(ctx: Context, course: Course, home: Course) -> _Facts:
    # The course itself is open, or there would be no plan; a variant's directories may be closed.
    of_other = home.slug != course.slug
    return _Facts(
        slug=home.slug,
        uid=home.uid,
        gid=home.gid or 0,
        of_other=of_other,
        closed=of_other and ctx.standing(home).state in CLOSED,
        teaching=ctx.teaching,
        may_submit=ctx.standing(course).decide(Action.SUBMIT).allowed,
        datadir=course.datadir,
        home_datadir=home.datadir,
        # Both must say so: the modes of a variant's data are those of the course that owns it.
        datadir_writable=course.datadir_readwrite and home.datadir_readwrite,
        home_datadir_writable=home.datadir_readwrite,
        own_userdata=course.create_userdata,
        username=ctx.person.username,
        user_uid=ctx.person.uid,
    )


@lru_cache(maxsize=8192)
def _of_course(facts: _Facts) -> Storage:
    note = f" (of the course {facts.slug})" if facts.of_other else ""
    if facts.closed:
        note += "; read-only, since the course that owns it is archived"
    mounts: list[Mount] = []
    needs: list[StorageNeed] = []
    if facts.teaching or facts.datadir:
        needs.append(_folder(facts))
    if facts.teaching:
        base = f"course/{facts.slug}"
        reason = f"the course directory, for its instructors{note}"
        mounts.append(mount(COURSE, f"{base}/files", not facts.closed, reason))
        reason = f"who has started as a student, to know whose a submission is{note}"
        mounts.append(mount(PEOPLE, f"{base}/people", False, reason))
    if facts.datadir:
        mounts += _data(facts, note)
        if facts.own_userdata and not facts.teaching:
            needs.append(_personal(StorageKind.COURSE_USERDATA, facts))
    reason = f"nbgrader's exchange{note}"
    if not facts.may_submit:
        reason += "; read-only: `restrict_submit`, and you are not on the list of students"
    writable = facts.may_submit and not facts.closed
    mounts.append(mount(EXCHANGE, f"exchange/{facts.slug}", writable, reason))
    kind = StorageKind.EXCHANGE
    needs.append(StorageNeed(kind=kind, slug=facts.slug, uid=facts.uid, gid=facts.gid))
    if writable and not facts.teaching:
        needs.append(_personal(StorageKind.COURSE_MEMBER, facts))
    return Storage(tuple(mounts), tuple(needs))


def _folder(facts: _Facts) -> StorageNeed:
    return StorageNeed(
        kind=StorageKind.COURSE,
        slug=facts.slug,
        uid=facts.uid,
        gid=facts.gid,
        datadir=facts.home_datadir or facts.datadir,
        datadir_writable=facts.home_datadir_writable,
        gradebook=facts.teaching and not facts.closed,
    )


def _data(facts: _Facts, note: str) -> list[Mount]:
    """The data of a course, and in it a student's own folder."""
    base = f"course/{facts.slug}/data"
    writable = (facts.teaching or facts.datadir_writable) and not facts.closed
    reason = f"`datadir`: the data of the course{note}"
    if writable and not facts.teaching:
        reason += "; `datadir_readwrite`: students may change it"
    found = [mount(COURSEDATA, base, writable, reason)]
    if facts.own_userdata and not facts.teaching:
        path = f"users/{facts.username}"
        reason = "`create_userdata`: your own folder in the data of the course"
        found.append(mount(f"{COURSEDATA}/{path}", f"{base}/{path}", not facts.closed, reason))
    return found


def _personal(kind: StorageKind, facts: _Facts) -> StorageNeed:
    return StorageNeed(
        kind=kind,
        slug=facts.slug,
        uid=facts.user_uid,
        gid=facts.gid,
        username=facts.username,
    )


def _taught(ctx: Context, root: str) -> list[Storage]:
    """Every course that the person teaches, at its public path; read-only once archived."""
    open_to: dict[str, tuple[Course, bool]] = {}
    for course in ctx.taught:
        try:
            home = ctx.home_of(course)
        except PlanError:
            continue  # a broken variant costs itself, not its teacher's other servers
        may = ctx.standing(course).decide(Action.WRITE_FILES).allowed
        if home is not course:
            may = may and ctx.standing(home).state not in CLOSED
        before = open_to.get(home.slug)
        open_to[home.slug] = (home, may or (before is not None and before[1]))
    return [
        _public(root, slug, home.uid, home.gid or 0, home.datadir, home.datadir_readwrite, writable)
        for slug, (home, writable) in open_to.items()
    ]


@lru_cache(maxsize=8192)
def _public(
    root: str, slug: str, uid: int, gid: int, datadir: bool, datadir_writable: bool, writable: bool
) -> Storage:
    """A course at its public path, for who teaches it; ``writable`` unless it is archived."""
    reason = f"you are an instructor of {slug}"
    if not writable:
        reason += "; read-only, since it is archived"
    mounts = []
    for part in ("files", "data") if datadir else ("files",):
        path = f"course/{slug}/{part}"
        mounts.append(mount(f"{root}/{path}", path, writable, reason))
    need = StorageNeed(
        kind=StorageKind.COURSE,
        slug=slug,
        uid=uid,
        gid=gid,
        datadir=datadir,
        datadir_writable=datadir_writable,
    )
    return Storage(tuple(mounts), (need,))


@lru_cache(maxsize=8192)
def mount(target: str, source: str, writable: bool, reason: str) -> Mount:
    """One mount; kept, as the parts above are."""
    return Mount(target=target, source=source, writable=writable, reason=reason)
