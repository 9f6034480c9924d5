"""The whole check of a cluster: read, look, try, decide."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

from courseyard.backends.kubernetes.check import nodes, standing, verdict, wanted
from courseyard.backends.kubernetes.check.api import connected
from courseyard.backends.kubernetes.check.images import images
from courseyard.backends.kubernetes.check.look import look
from courseyard.backends.kubernetes.check.probe import Tell, probe
from courseyard.errors import Problem
from courseyard.images.catalog import ImageCatalog
from courseyard.registry.load import Snapshot
from courseyard.settings import Site


def problems(
    site: Site, catalog: ImageCatalog, snapshot: Snapshot, tell: Tell, *, probing: bool
) -> list[Problem]:
    """Everything that would fail in the cluster of kubectl's current context.

    Args:
        site: one with the backend `kubernetes`, its courses beside its file.
        tell: told what is being done.
        probing: whether short-lived pods may be made in the cluster.

    Raises:
        BackendError: no cluster can be asked, or it does not answer.
    """
    return asyncio.run(_ending_on_sigterm(_problems(site, catalog, snapshot, tell, probing)))


async def _ending_on_sigterm(work: Coroutine[Any, Any, list[Problem]]) -> list[Problem]:
    """Let SIGTERM tidy up, as Ctrl-C does by itself."""
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


async def _problems(
    site: Site, catalog: ImageCatalog, snapshot: Snapshot, tell: Tell, probing: bool
) -> list[Problem]:
    settings = site.kubernetes
    manifests = wanted.read(site.folder)
    async with connected() as api:
        seen = await look(api, settings)
        placeless = list(nodes.problems(site, seen))
        found = [*standing.problems(manifests, seen, settings), *placeless]
        found += nodes.of_processes(site, seen)
        needed = images(site, catalog, snapshot, datetime.now(UTC))
        users = seen.get("Namespace", "", settings.users_namespace)
        if probing and needed and users is not None and not placeless:  # no pod would start
            probed = await probe(api, site, needed, seen, tell)
            found += verdict.problems(probed, manifests, site)
    return found
