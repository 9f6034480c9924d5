"""What `up` says when the site is ready: the address, and who can log in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from courseyard.access import taught
from courseyard.cli import output
from courseyard.cli.sites import open_site
from courseyard.hub.places import Places
from courseyard.people.person import Person
from courseyard.people.static import load_people
from courseyard.registry.course import Course
from courseyard.settings import Site


def usernames(site: Site) -> list[str]:
    """Everyone of the people file; nobody where people come from elsewhere."""
    return list(_people(site))


def _people(site: Site) -> dict[str, Person]:
    if site.people.source != "static":
        return {}
    return load_people(site.path(site.people.file), site.people)


def show(site: Site, accounts: Mapping[str, str], agent: Mapping[str, Any]) -> None:
    """Print address, accounts and where things lie."""
    output.line()
    output.line(f"{output.clean(site.name)} is ready: {Places(site).public_url}", "bold green")
    output.line()
    if accounts:
        people, courses = _people(site), open_site(site.folder).courses
        rows = [
            (name, word, _who(site, courses, people[name]))
            for name, word in accounts.items()
            if name in people
        ]
        output.table(("account", "password", "who"), rows)
        output.line()
    output.line(f"Files: {site.storage_root}   Logs: {site.state_dir / 'log'}")
    if not agent.get("root"):
        output.line("Not root: all servers run under your own account. For trying out.", "yellow")
    if agent.get("notice"):
        output.line(f"Limits of servers are weaker here: {agent['notice']}", "yellow")
    output.line("Ctrl-C stops the site and its servers; files stay.")


def _who(site: Site, courses: Mapping[str, Course], person: Person) -> str:
    parts = []
    if person.username in site.people.administrators:
        parts.append("administrator")
    lessons = [c.slug for c in taught(site, courses, person) if not c.archive]
    if lessons:
        parts.append(f"teaches {', '.join(lessons)}")
    managed = [slug for slug, c in sorted(courses.items()) if person.username in c.manager]
    if managed:
        parts.append(f"manages {', '.join(managed)}")
    if person.username in site.people.test_students:
        parts.append("test student")
    name = person.full_name or person.username
    return f"{name}: {'; '.join(parts) or 'student'}"
