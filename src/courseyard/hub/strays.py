"""Servers of this machine that no spawner of the hub has: left by a hub that ended while one started.

Nobody could stop such a server any more, and it would hold its memory for ever. In a cluster
:mod:`courseyard.hub.orphans` does the same with pods.
"""

from __future__ import annotations

import asyncio

from jupyterhub.app import JupyterHub
from sqlalchemy.exc import SQLAlchemyError

from courseyard.errors import CourseyardError
from courseyard.hub.culler import running
from courseyard.hub.planned import all_spawners
from courseyard.hub.runtime import Runtime

#: Seconds between two looks. Only what two of them see is stopped: a server is known to the agent a
#: moment before it is to its spawner.
INTERVAL = 60.0


async def stop_forever(runtime: Runtime) -> None:
    """Look now and then; what cannot be done now is done at a later look."""
    before: frozenset[str] = frozenset()
    while True:
        await asyncio.sleep(INTERVAL)
        try:
            there = frozenset((await runtime.agent.ping())["servers"])
            strays = there - await _known()
            for handle in sorted(strays & before):
                runtime.log.warning("Stopping %s, which no person's page knows", handle)
                await runtime.agent.stop(handle)
            before = strays
        except CourseyardError as error:
            runtime.log.warning("Servers without a spawner have to wait: %s", error.detail or error)
        except SQLAlchemyError as error:
            runtime.log.warning("Servers without a spawner have to wait: %r", error)
            JupyterHub.instance().db.rollback()  # or nobody could use the hub's session again


async def _known() -> frozenset[str]:
    """Handles of all servers that the hub knows, also of those that start or stop just now."""
    # Of a hub that has just started the database knows more than its memory.
    kept = [server.state.get("handle", "") async for server in running(JupyterHub.instance().db)]
    return frozenset(kept) | {spawner.handle for spawner in all_spawners()}
