"""The sandbox for grading of an instructor's server, as a plan of its own. Pure."""

from __future__ import annotations

import hashlib

from courseyard.plan.model import ServerPlan
from courseyard.settings import GRADING_UIDS


def plan_of(plan: ServerPlan, server: str) -> ServerPlan:
    """What runs beside the server of ``plan``, whose ``grading`` is set.

    Args:
        server: names the running server, partly by chance: the UID follows from it, so that no two
            sandboxes share a count of processes, and graded code does not learn from its own who grades.
    """
    assert plan.grading is not None
    number = int.from_bytes(hashlib.sha256(server.encode()).digest()[:8], "big")
    uid = GRADING_UIDS[number % len(GRADING_UIDS)]
    return plan.model_copy(
        update={
            "identity": plan.grading.identity.model_copy(update={"uid": uid}),
            "mounts": plan.grading.mounts,
            "environment": plan.grading.environment,
            "storage": (),
            "home_links": (),
            "nbgrader": None,
            "grading": None,
            "network": "none",
        }
    )
