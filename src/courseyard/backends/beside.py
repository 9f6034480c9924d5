"""The sandbox for grading of an instructor's server, as a plan of its own. Pure."""

from __future__ import annotations

from courseyard.plan.model import ServerPlan


def plan_of(plan: ServerPlan) -> ServerPlan:
    """What runs beside the server of ``plan``, whose ``grading`` is set."""
    assert plan.grading is not None
    return plan.model_copy(
        update={
            "identity": plan.grading.identity,
            "mounts": plan.grading.mounts,
            "environment": plan.grading.environment,
            "storage": (),
            "home_links": (),
            "nbgrader": None,
            "grading": None,
            "network": "none",
        }
    )
