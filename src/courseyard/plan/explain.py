"""A plan as lines of text, each with its reason."""

from __future__ import annotations

from courseyard.plan.model import Identity, ServerPlan
from courseyard.settings import GRADING_UIDS
from courseyard.units import format_bytes, format_duration

#: A section: its heading and rows of (what, value, reason).
Row = tuple[str, str, str]
Section = tuple[str, list[Row]]


def explain(plan: ServerPlan) -> list[str]:
    """The plan as aligned lines without colour; see :func:`sections` for tables."""
    lines: list[str] = []
    for heading, rows in sections(plan):
        if not rows:
            continue
        lines += ["", heading] if lines else [heading]
        names = max(len(_one_line(row[0])) for row in rows)
        values = min(48, max(len(_one_line(row[1])) for row in rows))
        for row in rows:
            name, value, reason = map(_one_line, row)
            text = f"  {name:<{names}}  {value:<{values}}"
            lines.append(f"{text}  # {reason}" if reason else text.rstrip())
    return lines


def sections(plan: ServerPlan) -> list[Section]:
    """The plan as tables: what a line says and why it does."""
    return [
        ("server", _server(plan)),
        ("identity", _identity(plan.identity, plan.reasons)),
        ("mounts", [(m.target, _mount(m.source, m.writable), m.reason) for m in plan.mounts]),
        ("limits", _limits(plan)),
        ("environment", _environment(plan)),
        ("home links", [(link.path, "/notebooks/.home/", "") for link in plan.home_links]),
        ("nbgrader", _nbgrader(plan)),
        ("grading", _grading(plan)),
        ("cluster", _cluster(plan)),
    ]


def _one_line(text: str) -> str:
    """Control characters made visible: a title must not draw on the administrator's terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _mount(source: str, writable: bool) -> str:
    return f"{'rw' if writable else 'ro'}  {source}"


def _server(plan: ServerPlan) -> list[Row]:
    why = plan.reasons.get
    image = plan.image.reference
    if plan.image.family:
        image += f" ({plan.image.family} {plan.image.released})"
    return [
        ("title", plan.title, ""),
        ("course", plan.course or "none: a general server", ""),
        ("role", plan.role.value, why("access", "")),
        ("server name", plan.server_name, ""),
        ("image", image, why("image", "")),
        ("opens", plan.default_url, why("default_url", "")),
        ("starts in", plan.start_folder, why("start_folder", "")),
        ("network", plan.network, "`servers.network` of the site"),
        ("start time-out", format_duration(plan.start_timeout), why("start_timeout", "")),
        ("answer time-out", format_duration(plan.http_timeout), why("http_timeout", "")),
    ]


def _identity(identity: Identity, reasons: dict[str, str]) -> list[Row]:
    who = f"{identity.uid} ({identity.username})"
    rows = [
        ("user", who, "the same as everywhere at the institution"),
        ("group", f"{identity.gid} ({identity.group})", reasons.get("identity.gid", "")),
        ("umask", f"{identity.umask:04o}", reasons.get("identity.umask", "")),
    ]
    rows += [("more group", f"{g.gid} ({g.name})", g.reason) for g in identity.supplementary]
    return rows


def _limits(plan: ServerPlan) -> list[Row]:
    limits, culling, why = plan.limits, plan.culling, plan.reasons.get
    rows = [
        ("memory", format_bytes(limits.mem_limit), why("limits.mem_limit", "")),
        ("memory guaranteed", format_bytes(limits.mem_guarantee), why("limits.mem_guarantee", "")),
        ("cores", f"{limits.cpu_limit:g}", why("limits.cpu_limit", "")),
        ("cores guaranteed", f"{limits.cpu_guarantee:g}", why("limits.cpu_guarantee", "")),
        ("processes", str(limits.processes), "`servers.processes` of the site"),
        ("temporary files", format_bytes(limits.tmp_size), "`servers.tmp_size` of the site"),
        ("shared memory", format_bytes(limits.shm_size), "`servers.shm_size` of the site"),
    ]
    reason = why("limits.extra_limits", "")
    rows += [(name, amount, reason) for name, amount in limits.extra_limits.items()]
    reason = why("limits.extra_guarantees", "")
    extra = limits.extra_guarantees.items()
    rows += [(f"{name} guaranteed", amount, reason) for name, amount in extra]
    inactive = format_duration(culling.inactive)
    age = format_duration(culling.max_age)
    rows.append(("stopped when unused", inactive, why("culling.cull_inactive_time", "")))
    rows.append(("stopped at the age of", age, why("culling.cull_max_age", "")))
    return rows


def _environment(plan: ServerPlan) -> list[Row]:
    why = plan.reasons.get
    return [(n, v, why(f"environment.{n}", "")) for n, v in sorted(plan.environment.items())]


def _nbgrader(plan: ServerPlan) -> list[Row]:
    nbgrader, why = plan.nbgrader, plan.reasons.get("nbgrader", "")
    if nbgrader is None:
        return [("nbgrader", "off", why)]
    parts = ("formgrader", "create_assignment", "assignment_list", "validate_assignment")
    shown = [part.replace("_", " ") for part in parts if getattr(nbgrader, part)]
    rows = [("shows", ", ".join(shown), why)]
    for name, traits in nbgrader.config.items():
        rows += [(f"{name}.{trait}", repr(value), "") for trait, value in traits.items()]
    if nbgrader.extra_lines:
        rows.append(("more lines", nbgrader.extra_lines, "`nbgrader_config` of the course"))
    if nbgrader.append_file:
        rows.append(("appended", nbgrader.append_file, "written by the instructors, if it exists"))
    for name, traits in nbgrader.fixed.items():
        reason = "fixed: no line of a file changes it"
        rows += [(f"{name}.{trait}", repr(value), reason) for trait, value in traits.items()]
    if nbgrader.rehearsal_exchange:
        rows.append(("rehearsal", nbgrader.rehearsal_exchange, "to try a release out, unseen"))
    return rows


def _grading(plan: ServerPlan) -> list[Row]:
    """What differs from the server: the rest, and the limits, are the same."""
    grading = plan.grading
    if grading is None:
        return []
    groups = (grading.identity.gid, *(g.gid for g in grading.identity.supplementary))
    why = "students' code is graded in a sandbox of its own, without a network"
    first, last = GRADING_UIDS[0], GRADING_UIDS[-1]
    rows = [
        ("UID", f"one of {first} to {last}", "nobody's: no file is its own"),
        ("groups", " ".join(map(str, groups)), why),
    ]
    return rows + [(m.target, _mount(m.source, m.writable), m.reason) for m in grading.mounts]


def _cluster(plan: ServerPlan) -> list[Row]:
    said = plan.kubernetes.model_dump(exclude_defaults=True)
    why = "`kubespawner_override` of the course; this matters in a cluster only"
    return [(name, repr(value), why) for name, value in said.items()]
