"""What only shows when courses are compared: shared directories and shared groups."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from courseyard.errors import Problem, SettingsError, Severity
from courseyard.hints import did_you_mean, some
from courseyard.registry.course import Course
from courseyard.yamlfile import dotted, read_yaml


class CrossCheck:
    """Who uses whose directories and which GID, kept up to date course by course."""

    def __init__(self) -> None:
        self._courses: dict[str, Course] = {}
        self._by_gid: defaultdict[int, set[str]] = defaultdict(set)
        self._affected: set[str] = set()

    def put(self, slug: str, course: Course | None) -> None:
        """``course`` is now what ``slug`` means; None: it is gone."""
        before = self._courses.get(slug)
        if before is course:
            return
        for gid in {c.gid for c in (before, course) if c is not None and c.gid is not None}:
            self._by_gid[gid].discard(slug)
            if course is not None and course.gid == gid:
                self._by_gid[gid].add(slug)
            self._affected |= self._by_gid[gid]
            if not self._by_gid[gid]:
                del self._by_gid[gid]
        self._affected.add(slug)
        if course is None:
            del self._courses[slug]
        else:
            self._courses[slug] = course

    def affected(self) -> set[str]:
        """Slugs whose warnings may have changed since the last call."""
        found, self._affected = self._affected, set()
        return found

    def refused_links(self, linked: Iterable[str], there: Callable[[str], bool]) -> dict[str, str]:
        """Slug → why its `coursedir_slug` cannot be followed.

        Args:
            linked: slugs whose file has one.
            there: whether a slug has a course file, be it a broken one.
        """
        refused = {}
        for slug in linked:
            target = self._courses[slug].coursedir_slug or ""
            if not there(target):
                near = did_you_mean(target, self._courses.keys() - {slug})
                hint = near or "; write the name of a course file, without .yaml"
                refused[slug] = f"there is no course {target}{hint}"
                continue
            way = [slug]
            while target and target not in way:
                way.append(target)
                course = self._courses.get(target)
                target = (course.coursedir_slug or "") if course is not None else ""
            if target == slug:
                refused[slug] = f"goes in a circle: {' → '.join([*way, slug])}"
        return refused

    def end_of_chain(self, course: Course) -> str | None:
        """The course whose directories ``course`` uses in the end; None: its own."""
        seen = {course.slug}
        end = course.coursedir_slug
        while end is not None and end not in seen:
            seen.add(end)
            following = self._courses.get(end)
            if following is None or following.coursedir_slug is None:
                break
            end = following.coursedir_slug
        return end if end != course.slug else course.coursedir_slug

    def warnings(self, slug: str) -> tuple[Problem, ...]:
        """What is doubtful about ``slug`` beside the others."""
        course = self._courses.get(slug)
        if course is None:
            return ()
        found = []
        home = course.directory_slug
        others = self._by_gid.get(course.gid, set()) if course.gid is not None else set()
        strangers = sorted(s for s in others if self._courses[s].directory_slug != home)
        if strangers:
            message = f"{some(strangers)} has this group too, so each sees the other's files"
            found.append(problem_at(course.file, "gid", message, Severity.WARNING))
        target = self._courses.get(home)
        if course.coursedir_slug is not None and target is not None and target.gid != course.gid:
            message = f"{home} has another `gid`; courses that share directories share their group"
            found.append(problem_at(course.file, "coursedir_slug", message, Severity.WARNING))
        for key in ("extra_instructor_groups", "extra_student_groups"):
            for name, gid in getattr(course, key):
                owners = sorted(s for s in self._by_gid.get(gid, ()) if s != slug)
                if owners and gid != course.gid:
                    message = f"{name} is the group of {some(owners)}: its files become readable"
                    found.append(problem_at(course.file, key, message, Severity.WARNING))
        return tuple(found)

    def orphan(self, path: Path, slug: str) -> Problem:
        """A users file without its course."""
        message = f"there is no course file {slug}.yaml, so nothing reads this"
        return Problem(path, 0, "", message, Severity.WARNING)


def problem_at(
    file: Path,
    key: str | tuple[str | int, ...],
    message: str,
    severity: Severity = Severity.ERROR,
) -> Problem:
    """A problem at ``key``, a path where it is an inner one; the file is read again for its line,
    which is rarely needed."""
    path = (key,) if isinstance(key, str) else key
    try:
        return read_yaml(file).problem(path, message, severity)
    except SettingsError:
        return Problem(file, 0, dotted(path), message, severity)
