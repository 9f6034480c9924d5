"""Server names back to what they start: ``algo2026-instructor`` → the course and the role."""

from __future__ import annotations

from collections.abc import Mapping

from courseyard.access import Role, Target
from courseyard.registry.course import Course, general_server_name, server_name
from courseyard.settings import Site


def name_of(target: Target, site: Site) -> str:
    """The named server of ``target``."""
    if target.course is not None:
        return server_name(target.course, instructor=target.role is Role.INSTRUCTOR)
    return general_server_name(target.environment or next(iter(site.environments)))


class ServerNames:
    """Finds the target of a server name; remembers the names that are cut for one set of courses."""

    def __init__(self, site: Site) -> None:
        self._general = {
            general_server_name(key): Target(role=Role.GENERAL, course=None, environment=key)
            for key in site.environments
        }
        self._courses: Mapping[str, Course] | None = None
        self._cut: dict[str, Target] = {}

    def find(self, name: str, courses: Mapping[str, Course]) -> Target | None:
        """The target whose server has this name, or None when nothing has."""
        if name in self._general:
            return self._general[name]
        for role, slug in (
            (Role.STUDENT, name),
            (Role.INSTRUCTOR, name.removesuffix("-instructor")),
        ):
            if slug in courses and server_name(slug, instructor=role is Role.INSTRUCTOR) == name:
                return Target(role=role, course=slug, environment=None)
        return self._cut_names(courses).get(name)

    def _cut_names(self, courses: Mapping[str, Course]) -> dict[str, Target]:
        if self._courses is not courses:
            cut: dict[str, Target] = {}
            for slug in courses:
                for role in (Role.STUDENT, Role.INSTRUCTOR):
                    name = server_name(slug, instructor=role is Role.INSTRUCTOR)
                    if name not in (slug, f"{slug}-instructor"):
                        cut[name] = Target(role=role, course=slug, environment=None)
            self._cut, self._courses = cut, courses
        return self._cut
