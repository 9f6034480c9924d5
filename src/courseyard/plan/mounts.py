"""What of the storage a server sees, and which folders must exist for it.

The one place that knows which parts of DOMAIN.md's "On disk" lie where inside a server.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter

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
        return target in [each.target for each in self.mounts]


def user_source(person: Person) -> str:
    """The user's own area below the storage root: ``u/<NN>/<username>``."""
    return f"u/{person.uid % 100:02d}/{person.username}"


def storage_of(ctx: Context) -> Storage:
    """All mounts and needs of one server.

    Raises:
        PlanError: the directories of another course that this one uses are not known.
    """
    mounts, needs = _everyones(ctx)
    if ctx.course is not None and ctx.course.has_directories:
        more_mounts, more_needs = _of_course(ctx, ctx.course, ctx.home_of(ctx.course))
        mounts += more_mounts
        needs += more_needs
    if ctx.role is not Role.STUDENT:
        more_mounts, more_needs = _taught(ctx)
        mounts += more_mounts
        made = {need.slug for need in needs if need.kind is StorageKind.COURSE}
        needs += [need for need in more_needs if need.slug not in made]
    mounts.sort(key=attrgetter("target"))  # a parent is the beginning of its children
    return Storage(tuple(mounts), tuple(needs))


def _everyones(ctx: Context) -> tuple[list[Mount], list[StorageNeed]]:
    person, root = ctx.person, ctx.site.storage.public_root
    own = user_source(person)
    mounts = [
        mount(NOTEBOOKS, own, True, "your own files; they stay when the course is over"),
        mount(f"{root}/{own}", own, True, "your own files at the path of the shell servers"),
        mount(f"{root}/shareddata", "shareddata", True, "data of the site, by file permissions"),
        mount(f"{root}/software", "software", False, "software of the site"),
    ]
    users = ctx.site.people.users_group.gid
    needs = [
        _need(StorageKind.SITE, "", 0, users),
        _need(StorageKind.USER, "", person.uid, users, person.username),
    ]
    return mounts, needs


def _of_course(ctx: Context, course: Course, home: Course) -> tuple[list[Mount], list[StorageNeed]]:
    """Of a course whose directories are those of ``home`` (itself, but for a variant)."""
    teaching = ctx.role is Role.INSTRUCTOR
    # The course itself is open, or there would be no plan; a variant's directories may be closed.
    closed = home is not course and ctx.standing(home).state in CLOSED
    note = "" if home.slug == course.slug else f" (of the course {home.slug})"
    if closed:
        note += "; read-only, since the course that owns it is archived"
    base = f"course/{home.slug}"
    mounts: list[Mount] = []
    needs: list[StorageNeed] = []
    if teaching or course.datadir:
        needs.append(_course_need(home, course, gradebook=teaching and not closed))
    if teaching:
        reason = f"the course directory, for its instructors{note}"
        mounts.append(mount(COURSE, f"{base}/files", not closed, reason))
        reason = f"who has started as a student, to know whose a submission is{note}"
        mounts.append(mount(PEOPLE, f"{base}/people", False, reason))
    if course.datadir:
        # Both must say so: the modes of a variant's data are those of the course that owns it.
        students_write = course.datadir_readwrite and home.datadir_readwrite
        writable = (teaching or students_write) and not closed
        reason = f"`datadir`: the data of the course{note}"
        if writable and not teaching:
            reason += "; `datadir_readwrite`: students may change it"
        mounts.append(mount(COURSEDATA, f"{base}/data", writable, reason))
        if course.create_userdata and not teaching:
            mounts.append(_own_userdata(ctx, base, closed))
            needs.append(_personal_need(StorageKind.COURSE_USERDATA, ctx, home))
    may = ctx.standing(course).decide(Action.SUBMIT)
    reason = f"nbgrader's exchange{note}"
    if not may:
        reason += "; read-only: `restrict_submit`, and you are not on the list of students"
    writable = may.allowed and not closed
    mounts.append(mount(EXCHANGE, f"exchange/{home.slug}", writable, reason))
    needs.append(_need(StorageKind.EXCHANGE, home.slug, home.uid, home.gid or 0))
    if writable and not teaching:
        needs.append(_personal_need(StorageKind.COURSE_MEMBER, ctx, home))
    return mounts, needs


def _own_userdata(ctx: Context, base: str, closed: bool) -> Mount:
    path = f"users/{ctx.person.username}"
    reason = "`create_userdata`: your own folder in the data of the course"
    return mount(f"{COURSEDATA}/{path}", f"{base}/data/{path}", not closed, reason)


def _personal_need(kind: StorageKind, ctx: Context, home: Course) -> StorageNeed:
    person = ctx.person
    return _need(kind, home.slug, person.uid, home.gid or 0, person.username)


def _taught(ctx: Context) -> tuple[list[Mount], list[StorageNeed]]:
    """Every course that the person teaches, at its public path; read-only once archived."""
    root = ctx.site.storage.public_root
    open_to: dict[str, tuple[Course, bool]] = {}
    for course in ctx.taught:
        try:
            home = ctx.home_of(course)
        except PlanError:
            continue  # a broken variant costs itself, not its teacher's other servers
        may = ctx.standing(course).decide(Action.WRITE_FILES).allowed
        may = may and ctx.standing(home).state not in CLOSED
        before = open_to.get(home.slug, (home, False))
        open_to[home.slug] = (home, before[1] or may)
    mounts, needs = [], []
    for slug, (home, writable) in open_to.items():
        reason = f"you are an instructor of {slug}"
        if not writable:
            reason += "; read-only, since it is archived"
        for part in ("files", "data") if home.datadir else ("files",):
            path = f"course/{slug}/{part}"
            mounts.append(mount(f"{root}/{path}", path, writable, reason))
        needs.append(_course_need(home, home, gradebook=False))
    return mounts, needs


# Kept between plans: they hold nothing that can change, and making them is a third of a plan.
@lru_cache(maxsize=8192)
def mount(target: str, source: str, writable: bool, reason: str) -> Mount:
    return Mount(target=target, source=source, writable=writable, reason=reason)


@lru_cache(maxsize=8192)
def _need(kind: StorageKind, slug: str, uid: int, gid: int, username: str = "") -> StorageNeed:
    return StorageNeed(kind=kind, slug=slug, uid=uid, gid=gid, username=username)


def _course_need(home: Course, course: Course, *, gradebook: bool) -> StorageNeed:
    datadir = home.datadir or course.datadir
    return _kept_course_need(
        home.slug, home.uid, home.gid or 0, datadir, home.datadir_readwrite, gradebook
    )


@lru_cache(maxsize=8192)
def _kept_course_need(
    slug: str, uid: int, gid: int, datadir: bool, datadir_writable: bool, gradebook: bool
) -> StorageNeed:
    return StorageNeed(
        kind=StorageKind.COURSE,
        slug=slug,
        uid=uid,
        gid=gid,
        datadir=datadir,
        datadir_writable=datadir_writable,
        gradebook=gradebook,
    )
