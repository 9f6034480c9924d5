"""Which pods belong to no server."""

from __future__ import annotations

from datetime import UTC, datetime

from courseyard.backends.kubernetes.manifests import SITE_LABEL
from courseyard.hub.orphans import orphans

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def pod(name: str, made: str, site: str = "yard") -> dict[str, object]:
    return {"metadata": {"name": name, "labels": {SITE_LABEL: site}, "creationTimestamp": made}}


def test_only_old_pods_of_this_site_that_nobody_has() -> None:
    old, young = "2026-11-24T11:50:00Z", "2026-11-24T11:59:30Z"
    pods = [
        pod("server-known", old),
        pod("server-left", old),
        pod("server-young", young),
        pod("server-of-another-site", old, "physics"),
        {"metadata": {"name": "no-labels", "creationTimestamp": old}},
    ]
    assert orphans(pods, frozenset({"server-known"}), "yard", NOW) == ["server-left"]
