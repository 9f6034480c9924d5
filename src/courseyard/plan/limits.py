"""How much a server may use, for how long it lives, and what only a cluster needs."""

from __future__ import annotations

from copy import deepcopy
from operator import attrgetter
from typing import TypeVar

from courseyard.plan.context import Context
from courseyard.plan.model import Culling, Kubernetes, Limits

T = TypeVar("T", int, float)
#: What of a course's override only a cluster reads.
_of_cluster = attrgetter(*Kubernetes.model_fields)


def pick(ctx: Context, section: str, name: str, default: T) -> T:
    """The course's value or the site's, and the reason why.

    Args:
        ctx: where the reason is noted.
        section: of the plan, ``limits.`` for one; "" for the plan itself.
        name: of the key in ``kubespawner_override`` and of the setting.
        default: the site's value.
    """
    value: T | None = getattr(ctx.override, name)
    if value is None:
        ctx.reasons[section + name] = f"`servers.{name}` of the site"
        return default
    ctx.reasons[section + name] = f"`kubespawner_override.{name}` of the course"
    return value


def limits_of(ctx: Context) -> Limits:
    """Memory, CPU and the rest; a guarantee over its limit is cut to it and says so."""
    servers = ctx.site.servers
    mem_limit = pick(ctx, "limits.", "mem_limit", servers.mem_limit)
    guarantee = servers.mem_guarantee_instructor if ctx.teaching else servers.mem_guarantee
    mem_guarantee = pick(ctx, "limits.", "mem_guarantee", guarantee)
    if ctx.teaching and ctx.override.mem_guarantee is None:
        ctx.reasons["limits.mem_guarantee"] = "`servers.mem_guarantee_instructor` of the site"
    cpu_limit = pick(ctx, "limits.", "cpu_limit", servers.cpu_limit)
    cpu_guarantee = pick(ctx, "limits.", "cpu_guarantee", servers.cpu_guarantee)
    override = ctx.override
    if override.extra_resource_limits:
        reason = "`kubespawner_override.extra_resource_limits` of the course"
        ctx.reasons["limits.extra_limits"] = reason
    if override.extra_resource_guarantees:
        reason = "`kubespawner_override.extra_resource_guarantees` of the course"
        ctx.reasons["limits.extra_guarantees"] = reason
    return Limits(
        mem_limit=mem_limit,
        mem_guarantee=_cut(ctx, "mem", mem_guarantee, mem_limit),
        cpu_limit=cpu_limit,
        cpu_guarantee=_cut(ctx, "cpu", cpu_guarantee, cpu_limit),
        processes=servers.processes,
        tmp_size=servers.tmp_size,
        shm_size=servers.shm_size,
        extra_limits=dict(override.extra_resource_limits),
        extra_guarantees=dict(override.extra_resource_guarantees),
    )


def _cut(ctx: Context, kind: str, guarantee: T, limit: T) -> T:
    if guarantee <= limit:
        return guarantee
    key = f"limits.{kind}_guarantee"
    ctx.reasons[key] += f", cut to {kind}_limit: nobody can count on more than they may use"
    return limit


def culling_of(ctx: Context) -> Culling:
    """When an unused or old server is stopped."""
    servers = ctx.site.servers
    return Culling(
        inactive=pick(ctx, "culling.", "cull_inactive_time", servers.cull_inactive_time),
        max_age=pick(ctx, "culling.", "cull_max_age", servers.cull_max_age),
    )


def kubernetes_of(ctx: Context) -> Kubernetes:
    """What only a cluster reads, copied, so that no two plans share a value (trap 6)."""
    override = ctx.override
    if not any(_of_cluster(override)):
        return Kubernetes()
    return Kubernetes(
        node_selector=dict(override.node_selector),
        tolerations=deepcopy(override.tolerations),
        node_affinity_required=deepcopy(override.node_affinity_required),
        node_affinity_preferred=deepcopy(override.node_affinity_preferred),
        priority_class_name=override.priority_class_name,
        image_pull_policy=override.image_pull_policy,
        site_allowed=deepcopy(override.site_allowed),
    )
