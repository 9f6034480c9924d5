"""The folder of course files → :class:`Snapshot`: reads what changed, keeps what was good."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b

from courseyard.errors import Problem
from courseyard.images.catalog import ImageCatalog
from courseyard.registry.course import Course
from courseyard.registry.crosscheck import CrossCheck, problem_at
from courseyard.registry.files import MAX_PEOPLE, TOO_MANY, larger_list, read_course, read_users
from courseyard.registry.reader import Rules
from courseyard.registry.slugs import USERS_SUFFIX
from courseyard.registry.snapshot import Pause, Snapshot, Stale, nothing
from courseyard.settings import Site
from courseyard.stamp import Stamp, stamp
from courseyard.yamlfile import VanishedError, YamlError, read_bytes

__all__ = ["Loader", "Snapshot", "Stale", "load_snapshot"]

_SUFFIX = ".yaml"
#: A file changed this short a time (ns) ago may change again without its times showing it.
_SETTLED = 2_000_000_000
#: After so much work (s) without a pause others get their turn; pauses last as long as the second.
_WORK, _PAUSE = 0.001, 0.0002


@dataclass(slots=True)
class _File:
    """What is known of one file."""

    digest: bytes
    problems: tuple[Problem, ...] = ()


@dataclass(slots=True)
class _Course:
    """What is known of one slug: two files, and the last good version of each."""

    main: _File | None = None
    users: _File | None = None
    read: Course | None = None  # the course file as it is now, when it can be used
    good: Course | None = None  # its last good version, without the users file
    people: tuple[frozenset[str], frozenset[str]] | None = None  # of the last good users file
    broken_since: datetime | None = None
    cross: tuple[Problem, ...] = ()  # found by comparing with other courses
    problems: tuple[Problem, ...] = ()

    @property
    def all_problems(self) -> tuple[Problem, ...]:
        files = (file.problems for file in (self.main, self.users) if file is not None)
        return (*(p for found in files for p in found), *self.cross, *self.problems)


class Loader:
    """Not thread-safe; :class:`courseyard.registry.watch.Registry` has the lock."""

    def __init__(self, site: Site, catalog: ImageCatalog) -> None:
        self.folder = site.courses_dir
        self.rules = Rules(site, catalog)
        self.snapshot = Snapshot(site.tz)
        self._slugs: dict[str, _Course] = {}
        #: By file name; None: read it again at the next look.
        self._stamps: dict[str, Stamp | None] = {}
        self._cross = CrossCheck()
        self._folder_problems: tuple[Problem, ...] = ()
        self._told_of_folder: tuple[Problem, ...] = ()
        self._with_problems: set[str] = set()
        #: Slugs whose file has `coursedir_slug`; few.
        self._linked: set[str] = set()

    def refresh(self, names: Iterable[str] | None = None, *, gentle: bool = False) -> Snapshot:
        """Read what changed and make it the snapshot. Raises nothing that a file can cause.

        Args:
            names: file names that may have changed; None looks at the whole folder.
            gentle: pause now and then, so that other threads can work.
        """
        pause: Pause = _Pauses() if gentle else nothing
        if self._slugs:
            return self._refresh(names, pause)
        with _no_collection():
            return self._refresh(names, pause)

    def _refresh(self, names: Iterable[str] | None, pause: Pause) -> Snapshot:
        now = datetime.now(UTC)
        touched = self._scan(pause) if names is None else self._look(names, pause)
        if not touched and self._folder_problems == self._told_of_folder:
            return self.snapshot
        self._told_of_folder = self._folder_problems
        changed = self._take(touched, now, pause)
        problems = self._problems(touched)
        stale = self._stale(touched)
        self.snapshot = self.snapshot.changed(changed, problems, stale, now, pause)
        return self.snapshot

    def use(self, catalog: ImageCatalog) -> Snapshot:
        """Read every file again, now against another list of images."""
        self.rules.catalog = catalog
        for course in self._slugs.values():
            for file in (course.main, course.users):
                if file is not None:
                    file.digest = b""
        self._stamps = dict.fromkeys(self._stamps)
        return self.refresh(gentle=True)

    # Reading

    def _scan(self, pause: Pause) -> set[str]:
        """Look at every file of the folder; slugs of which something changed."""
        try:
            with os.scandir(self.folder) as entries:
                found = {e.name: e for e in entries if _is_ours(e.name)}
        except OSError as error:
            reason = (error.strerror or "unknown reason").lower()
            message = f"the folder of courses cannot be read: {reason}"
            self._folder_problems = (Problem(self.folder, 0, "", message),)
            return set()
        self._folder_problems = ()
        gone = [name for name in self._stamps if name not in found]
        touched = {known for name in gone if (known := self._forget(name))}
        for name, entry in found.items():
            try:
                status = entry.stat()
            except OSError:
                status = None
            if status is not None and self._stamps.get(name) == stamp(status):
                continue
            if changed := self._visit(name, status):
                touched.add(changed)
            pause()
        return touched

    def _look(self, names: Iterable[str], pause: Pause) -> set[str]:
        touched = set()
        for name in set(names):
            if not _is_ours(name):
                continue
            try:
                status: os.stat_result | None = os.stat(self.folder / name)  # noqa: PTH116
            except FileNotFoundError:
                if slug := self._forget(name):
                    touched.add(slug)
                continue
            except OSError:
                status = None
            if slug := self._visit(name, status):
                touched.add(slug)
            pause()
        return touched

    def _visit(self, name: str, status: os.stat_result | None) -> str | None:
        """Read the file when it changed; its slug if so."""
        slug, is_users = _slug_of(name)
        course = self._slugs.get(slug) or _Course()
        file = course.users if is_users else course.main
        seen = stamp(status) if status is not None else None
        path = self.folder / name
        try:
            source = read_bytes(path)
        except VanishedError:
            return self._forget(name)
        except YamlError as error:
            problems = error.problems
            if file is not None and file.problems == problems:
                return None
            self._store(slug, course, _File(b"", problems), is_users)
            self._stamps[name] = None
            return slug
        digest = blake2b(source, digest_size=16).digest()
        settled = status is not None and time.time_ns() - status.st_mtime_ns > _SETTLED
        self._stamps[name] = seen if settled else None
        if file is not None and file.digest == digest:
            return None
        fresh = _File(digest)
        self._store(slug, course, fresh, is_users)
        if is_users:
            users = read_users(source, path, self.rules)
            fresh.problems = users.problems
            course.people = course.people if users.people is None else users.people
        else:
            read = read_course(source, path, self.rules)
            fresh.problems = read.problems
            course.read = read.course
        return slug

    def _store(self, slug: str, course: _Course, file: _File, is_users: bool) -> None:
        self._slugs[slug] = course
        if is_users:
            course.users = file
        else:
            course.main, course.read = file, None

    def _forget(self, name: str) -> str | None:
        """The file is gone; its slug when it was known."""
        self._stamps.pop(name, None)
        slug, is_users = _slug_of(name)
        course = self._slugs.get(slug)
        if course is None or (course.users if is_users else course.main) is None:
            return None
        if is_users:
            course.users = course.people = None
        else:
            course.main = course.read = course.good = None
        return slug

    # Making it the courses in force

    def _take(self, touched: set[str], now: datetime, pause: Pause) -> dict[str, Course | None]:
        """Decide for each touched slug which version is in force; the courses that changed."""
        changed: dict[str, Course | None] = {}
        for slug in touched:
            wish = self._slugs[slug].read or self._slugs[slug].good
            if wish is not None and wish.coursedir_slug is not None:
                self._linked.add(slug)
            else:
                self._linked.discard(slug)
        for slug in touched | self._linked:
            self._cross.put(slug, self._slugs[slug].read or self._slugs[slug].good)
        refused = self._cross.refused_links(self._linked, self._is_there)
        for slug in sorted(touched | self._linked):
            pause()
            course = self._slugs[slug]
            in_force = self._version(slug, course, refused.get(slug))
            bad = course.main is not None and any(p.is_error for p in course.all_problems)
            course.broken_since = (course.broken_since or now) if bad else None
            self._cross.put(slug, in_force)
            if in_force != self.snapshot.courses.get(slug):
                changed[slug] = in_force
        for slug in self._cross.affected():
            if slug in self._slugs:
                self._slugs[slug].cross = self._cross.warnings(slug)
                touched.add(slug)
        touched |= self._linked
        for slug in touched:
            if self._slugs[slug].main is None and self._slugs[slug].users is None:
                del self._slugs[slug]
        return changed

    def _is_there(self, slug: str) -> bool:
        """Whether a course file of this name exists, be it a broken one."""
        course = self._slugs.get(slug)
        return course is not None and course.main is not None

    def _version(self, slug: str, course: _Course, refused: str | None) -> Course | None:
        """The version of the course that is in force now."""
        course.problems = ()
        if course.read is not None and refused is None:
            course.good = course.read
        elif course.read is not None:
            found = problem_at(course.read.file, "coursedir_slug", refused or "")
            course.problems = (found,)
        return self._merged(slug, course, course.good) if course.good is not None else None

    def _users_broken(self, course: _Course) -> bool:
        return course.users is not None and any(p.is_error for p in course.users.problems)

    def _merged(self, slug: str, course: _Course, base: Course) -> Course:
        """The course with the people of its users file, and with the end of its chain."""
        update: dict[str, object] = {}
        if course.people is not None:
            instructors = base.instructors | course.people[0]
            students = base.students | course.people[1]
            if len(instructors | students) > MAX_PEOPLE:
                path = self.folder / f"{slug}{USERS_SUFFIX}{_SUFFIX}"
                message = f"{TOO_MANY}, here or in the course file"
                problem = problem_at(path, larger_list(*course.people), message)
                course.problems = (*course.problems, problem)
                update["complete"] = False
            else:
                update |= {"instructors": instructors, "students": students}
        elif self._users_broken(course):
            update["complete"] = False
        target = self._cross.end_of_chain(base)
        if target != base.coursedir_slug:
            update["coursedir_slug"] = target
        return base.model_copy(update=update) if update else base

    def _problems(self, touched: set[str]) -> tuple[Problem, ...]:
        for slug in touched:
            course = self._slugs.get(slug)
            if course is not None and course.main is None and course.users is not None:
                path = self.folder / f"{slug}{USERS_SUFFIX}{_SUFFIX}"
                course.cross = (self._cross.orphan(path, slug),)
            if course is not None and course.all_problems:
                self._with_problems.add(slug)
            else:
                self._with_problems.discard(slug)
        found = [p for slug in sorted(self._with_problems) for p in self._slugs[slug].all_problems]
        return (*self._folder_problems, *found)

    def _stale(self, touched: set[str]) -> dict[str, Stale]:
        stale = dict(self.snapshot.stale)
        for slug in touched:
            stale.pop(slug, None)
            course = self._slugs.get(slug)
            if course is None or course.good is None or course.broken_since is None:
                continue
            errors = tuple(p for p in course.all_problems if p.is_error)
            stale[slug] = Stale(course.broken_since, errors)
        return stale


class _Pauses:
    """Called between two files; lets others work when that took a while."""

    def __init__(self) -> None:
        self._until = time.perf_counter() + _WORK

    def __call__(self) -> None:
        if time.perf_counter() > self._until:
            time.sleep(_PAUSE)
            self._until = time.perf_counter() + _WORK


@contextmanager
def _no_collection() -> Iterator[None]:
    """The first load makes only what stays: looking for garbage in it takes a third of its time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _is_ours(name: str) -> bool:
    return name.endswith(_SUFFIX) and not name.startswith(".") and "/" not in name


def _slug_of(name: str) -> tuple[str, bool]:
    """The slug, and whether it is its users file."""
    stem = name.removesuffix(_SUFFIX)
    plain = stem.removesuffix(USERS_SUFFIX)
    return plain, plain != stem


def load_snapshot(site: Site, catalog: ImageCatalog) -> Snapshot:
    """All courses of a site, read once."""
    return Loader(site, catalog).refresh()
