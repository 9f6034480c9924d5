"""The environment variables of a server."""

from __future__ import annotations

from courseyard.plan.context import Context
from courseyard.plan.model import Culling, Identity, Limits
from courseyard.plan.mounts import COURSE, COURSEDATA, Storage
from courseyard.plan.nbgrader import REHEARSAL, REHEARSAL_VARIABLE

_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "JULIA_NUM_THREADS",
)
#: Set by JupyterHub or the backend for each start; no file may set them.
_NOT_FOR_FILES = ("JUPYTERHUB_", "JPY_", "COURSEYARD_")


def environment_of(
    ctx: Context, identity: Identity, storage: Storage, limits: Limits, culling: Culling
) -> dict[str, str]:
    """All variables: defaults, then the site's, then the course's, and ours over all of them."""
    wished = {"EDITOR": "nano"} | dict(ctx.site.servers.environment)
    reasons = ctx.reasons
    for name in wished:
        reasons[f"environment.{name}"] = "`servers.environment` of the site"
    if "EDITOR" not in ctx.site.servers.environment:
        reasons["environment.EDITOR"] = "the default"
    if ctx.course is not None:
        of_course = ctx.course.kubespawner_override.environment
        wished |= of_course
        for name in of_course:
            reasons[f"environment.{name}"] = "`kubespawner_override.environment` of the course"
    ours = _ours(ctx, identity, storage, limits, culling)
    paths = _python_path(ctx)
    # An empty or relative one would be the folder of each notebook, in which others may write.
    paths += [path for path in wished.get("PYTHONPATH", "").split(":") if path.startswith("/")]
    ours["PYTHONPATH"] = ":".join(paths)
    kept = {n: v for n, v in wished.items() if not n.startswith(_NOT_FOR_FILES)}
    for name in wished:
        if name in ours or name not in kept:
            reasons.pop(f"environment.{name}", None)
    return kept | ours


def _python_path(ctx: Context) -> list[str]:
    paths = [f"{ctx.site.storage.public_root}/software/pymod"]
    if ctx.teaching:
        paths.insert(0, f"{COURSE}/pymod")
    return paths


def _ours(
    ctx: Context, identity: Identity, storage: Storage, limits: Limits, culling: Culling
) -> dict[str, str]:
    values = {
        "HOME": identity.home,
        "USER": identity.username,
        "LOGNAME": identity.username,
        "SHELL": "/bin/bash",
        "NB_USER": identity.username,
        "TZ": ctx.site.timezone,
        ctx.site.servers.marker: "1",
        "CULL_INACTIVE_TIME": str(culling.inactive),
        "CULL_MAX_AGE": str(culling.max_age),
    }
    # At least one thread, also where a server gets half a core.
    threads = str(max(1, int(limits.cpu_limit)))
    values.update(dict.fromkeys(_THREADS, threads))
    if ctx.course is not None:
        values["NB_COURSE"] = ctx.course.slug
    if storage.has(COURSEDATA):
        values["COURSEDATA"] = f"{COURSEDATA}/"
    if ctx.teaching:
        values[REHEARSAL_VARIABLE] = REHEARSAL
    return values
