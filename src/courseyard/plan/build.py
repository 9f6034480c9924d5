"""Person + course + role → :class:`~courseyard.plan.model.ServerPlan`. Pure: no file is read,
nothing that can change is kept from one plan to the next.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from functools import lru_cache
from typing import Any

from courseyard.access import Decision, Role, Target, decide, taught
from courseyard.errors import DeniedError, PlanError
from courseyard.images.catalog import parse_wish
from courseyard.images.model import ImageWish
from courseyard.people.person import Person
from courseyard.plan.context import Context, Known
from courseyard.plan.environment import environment_of
from courseyard.plan.grading import grading_of
from courseyard.plan.identity import identity_of
from courseyard.plan.limits import culling_of, kubernetes_of, limits_of, pick
from courseyard.plan.model import HomeLink, PlanImage, ServerPlan
from courseyard.plan.mounts import COURSE, NOTEBOOKS, Storage, storage_of
from courseyard.plan.nbgrader import nbgrader_of
from courseyard.registry.course import Course, general_server_name, server_name
from courseyard.settings import Site

__all__ = ["Known", "image_wish", "plan_server"]

#: What of the home directory persists everywhere; a site adds `storage.home_links`.
HOME_LINKS = (".gitconfig", ".ssh/", ".bash_history", ".local/share/jupyter/nbgrader_cache/")


def plan_server(
    site: Site, known: Known, person: Person, target: Target, now: datetime
) -> ServerPlan:
    """Everything about one server.

    Args:
        site: the site's settings.
        known: courses and images.
        person: whose server; the caller has found out who they are.
        target: what they want, as the browser said it: a wish.
        now: an aware time.

    Raises:
        DeniedError: this is not the person's to start; it is decided here, so that no caller can
            forget it. ``detail`` holds the rule.
        PlanError: the course asks for an image, a group or directories that are not there.
    """
    course = _find(site, known, target)
    ctx = _context(site, known, person, target, course, now)
    decision = decide(site, person, course, target.action, now, ctx.standing)
    if not decision:
        raise DeniedError(
            decision.message,
            "Your course page shows what you can start.",
            detail=f"rule {decision.rule}: {person.username} to {target}",
        )
    return _plan(ctx, decision)


def _find(site: Site, known: Known, target: Target) -> Course | None:
    if target.course is not None:
        return known.courses.get(target.course)
    if target.environment is not None and target.environment not in site.environments:
        raise DeniedError(
            "There is no general environment of that name.",
            "Your course page shows what you can start.",
            detail=f"rule no-such-environment: {target}",
        )
    if not site.environments:
        raise DeniedError("This site has no general environments.", detail=f"rule none: {target}")
    return None


def _context(
    site: Site,
    known: Known,
    person: Person,
    target: Target,
    course: Course | None,
    now: datetime,
) -> Context:
    key = ""
    if course is None:
        key = target.environment or next(iter(site.environments))
    courses: tuple[Course, ...] = ()
    if target.role is not Role.STUDENT:
        named = None if known.named is None else known.named(person.username)
        courses = taught(site, known.courses, person, named)
    return Context(
        site=site,
        known=known,
        person=person,
        role=target.role,
        course=course,
        environment_key=key,
        environment=site.environments[key] if course is None else None,
        now=now,
        taught=tuple(c for c in courses if c.has_directories),
    )


def _plan(ctx: Context, decision: Decision) -> ServerPlan:
    ctx.reasons["access"] = f"{decision.rule}: {decision.message}"
    servers = ctx.site.servers
    image = _image(ctx)
    identity = identity_of(ctx)
    storage = storage_of(ctx)
    limits = limits_of(ctx)
    culling = culling_of(ctx)
    environment = environment_of(ctx, identity, storage, limits, culling)
    nbgrader = nbgrader_of(ctx)
    name = _server_name(ctx)
    return ServerPlan(
        site=ctx.site.name,
        course=ctx.course.slug if ctx.course else "",
        title=_title(ctx),
        role=ctx.role,
        server_name=name,
        image=image,
        identity=identity,
        mounts=storage.mounts,
        storage=storage.needs,
        environment=environment,
        home_links=_home_links(ctx.site.storage.home_links),
        nbgrader=nbgrader,
        grading=grading_of(ctx, storage, environment),
        limits=limits,
        culling=culling,
        network=servers.network,
        labels=_labels(ctx, name),
        start_folder=_start_folder(ctx, storage),
        default_url=_default_url(ctx),
        start_timeout=pick(ctx, "", "start_timeout", servers.start_timeout),
        http_timeout=pick(ctx, "", "http_timeout", servers.http_timeout),
        kubernetes=kubernetes_of(ctx),
        reasons=ctx.reasons,
    )


def _start_folder(ctx: Context, storage: Storage) -> str:
    if storage.has(COURSE):
        ctx.reasons["start_folder"] = "the course directory, where its instructors work"
        return COURSE
    ctx.reasons["start_folder"] = "your own files"
    return NOTEBOOKS


def _server_name(ctx: Context) -> str:
    if ctx.course is None:
        return general_server_name(ctx.environment_key)
    return server_name(ctx.course.slug, instructor=ctx.teaching)


def _title(ctx: Context) -> str:
    if ctx.course is not None:
        return ctx.course.name
    return ctx.environment.name if ctx.environment else ctx.environment_key


def image_wish(course: Course, *, teaching: bool) -> tuple[ImageWish, str]:
    """The software of a course's servers in a role, and the key that says so."""
    if teaching and course.image_instructor is not None:
        return course.image_instructor, "`image_instructor` of the course"
    override = course.kubespawner_override.image
    if override is not None:
        return override, "`kubespawner_override.image` of the course"
    return course.image, "`image` of the course"


def image_wishes(course: Course) -> tuple[ImageWish, ImageWish]:
    """The software of a course's students and of its instructors."""
    return image_wish(course, teaching=False)[0], image_wish(course, teaching=True)[0]


def _wish(ctx: Context) -> tuple[ImageWish, str]:
    if ctx.course is not None:
        return image_wish(ctx.course, teaching=ctx.teaching)
    wanted: Any = ctx.environment.image if ctx.environment else "DEFAULT"
    return parse_wish(wanted), f"`environments.{ctx.environment_key}.image` of the site"


def _image(ctx: Context) -> PlanImage:
    try:
        wish, reason = _wish(ctx)
        release = ctx.known.catalog.resolve(wish)
    except (PlanError, ValueError) as error:
        raise PlanError(
            f"The software of “{_title(ctx)}” is not available here: {error}.",
            "Ask the people of the course, or the help desk; your files are safe.",
            detail=str(error),
        ) from error
    if wish.family is not None:
        reason += f": the newest of {wish.family}"
        if wish.released_by is not None:
            reason += f" released by {wish.released_by.isoformat()}"
    ctx.reasons["image"] = reason
    return PlanImage(
        reference=release.reference,
        family=release.family,
        # A reference that no family lists has no date.
        released=release.released.isoformat() if release.released else "",
        path=release.path,
    )


@lru_cache(maxsize=8)
def _home_links(of_site: tuple[str, ...]) -> tuple[HomeLink, ...]:
    # Kept, since nothing in it can be changed and every server of a site has the same.
    wanted = dict.fromkeys(HOME_LINKS + of_site)
    return tuple(HomeLink(path=p.rstrip("/"), folder=p.endswith("/")) for p in wanted)


def _default_url(ctx: Context) -> str:
    own = ctx.override.default_url
    if own is not None:
        ctx.reasons["default_url"] = "`kubespawner_override.default_url` of the course"
        return own
    if ctx.course is not None:
        lab, whose = ctx.course.jupyterlab, "the course"
    else:
        lab = ctx.environment is None or ctx.environment.jupyterlab
        whose = "the site"
    if lab:
        ctx.reasons["default_url"] = "JupyterLab, the default"
        return "/lab"
    ctx.reasons["default_url"] = f"`jupyterlab: false` of {whose}: the classic notebook interface"
    return "/tree"


def _labels(ctx: Context, name: str) -> dict[str, str]:
    """What a server is found by, in the form that Kubernetes allows for labels."""
    labels = {
        "courseyard/user": label_value(ctx.person.username),
        "courseyard/role": ctx.role.value,
        "courseyard/server": label_value(name),
    }
    if ctx.course is not None:
        labels["courseyard/course"] = label_value(ctx.course.slug)
    return labels


_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")


@lru_cache(maxsize=8192)
def label_value(text: str) -> str:
    """``text`` as a Kubernetes label value; one that does not fit is marked by a hash of itself.

    At most 63 characters ``[A-Za-z0-9_.-]`` with letters or digits at both ends
    (kubernetes.io/docs/concepts/overview/working-with-objects/labels).
    """
    if _LABEL.fullmatch(text):
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"x{re.sub('[^A-Za-z0-9_.-]', '-', text)[:50]}-{digest}"
