"""Try a cluster with short-lived pods, which are always taken away again.

They have no storage, no token and no rights. A check that is killed leaves pods that end by themselves;
the next check deletes them.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType

from courseyard.backends.kubernetes.check import outcome, pods
from courseyard.backends.kubernetes.check.api import Api, RefusedError
from courseyard.backends.kubernetes.check.images import Image
from courseyard.backends.kubernetes.check.outcome import Outcome, State
from courseyard.backends.kubernetes.check.seen import Object, Seen
from courseyard.backends.kubernetes.manifests import PORT
from courseyard.errors import BackendError
from courseyard.settings import KubernetesSettings, Site

_PATIENCE = 120.0  # seconds for one pod, its image included
_LOOK = 0.5  # seconds between two looks at it
_STEP = 0.25  # seconds between two times that a pod writes
_AT_ONCE = 4
_PODS = "/api/v1/namespaces/{}/pods"

Tell = Callable[[float, str], None]


@dataclass(frozen=True)
class Probed:
    """What was found out; None for what could not be tried."""

    images: tuple[tuple[Image, Outcome], ...] = ()
    listener: Outcome | None = None
    caller: Outcome | None = None
    hub_asked: bool = False
    names: Outcome | None = None
    hub_address: str = ""
    rights_taken: bool | None = None  # whether a pod with every right would be taken

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        some = (self.listener, self.caller, self.names, *(found for _, found in self.images))
        return tuple(found for found in some if found is not None)


async def probe(api: Api, site: Site, images: Sequence[Image], seen: Seen, tell: Tell) -> Probed:
    """Everything that only shows in a pod.

    Args:
        images: the first is what the pods on the network run.

    Raises:
        BackendError: the cluster does not answer any more.
    """
    settings, run = site.kubernetes, secrets.token_hex(3)
    hub = seen.get("Deployment", settings.namespace, "hub")
    service = seen.get("Service", settings.namespace, settings.hub_service) or {}
    address = str((service.get("spec") or {}).get("clusterIP") or "").replace("None", "")
    ready = bool(((hub or {}).get("status") or {}).get("availableReplicas"))
    port = site.hub.servers_port or site.hub.port + 3
    asked = {"hub": (address, port)} if ready and address else {}
    async with Pods(api, settings) as made:
        tell(0.2, "Starting short-lived pods")
        try:
            # One that fails ends the others, so that none makes a pod after the tidying.
            async with asyncio.TaskGroup() as group:
                both = group.create_task(_neighbours(made, run, images[0], settings, asked, tell))
                names = group.create_task(_names(made, run, seen, settings))
                rights = group.create_task(_rights_taken(api, run, settings))
                others = [
                    group.create_task(_image(made, run, number, image, settings))
                    for number, image in enumerate(images[1:])
                ]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        finally:
            tell(0.9, "Taking the pods away")
    listener, caller = both.result()
    found = zip(images, [listener, *(task.result() for task in others)], strict=True)
    return Probed(
        tuple(found), listener, caller, bool(asked), names.result(), address, rights.result()
    )


async def _neighbours(
    made: Pods,
    run: str,
    image: Image,
    settings: KubernetesSettings,
    asked: dict[str, tuple[str, int]],
    tell: Tell,
) -> tuple[Outcome, Outcome | None]:
    """One pod that listens as a server does, and then another one that tries to reach it."""
    policy, reference = image.pull_policy, image.reference
    listens = pods.server(run, "listens", reference, settings, {"listen": PORT}, policy)
    listener = await made.run(listens)
    if listener.state is not State.RAN or not listener.address:
        return listener, None
    tell(0.5, "Trying whether one server reaches another")
    wish = {"open": asked, "closed": {"neighbour": (listener.address, PORT)}, "api": True}
    return listener, await made.run(pods.server(run, "calls", reference, settings, wish, policy))


async def _names(made: Pods, run: str, seen: Seen, settings: KubernetesSettings) -> Outcome | None:
    hub, proxies = (seen.get("Deployment", settings.namespace, name) for name in ("hub", "proxy"))
    if hub is None or proxies is None:
        return None
    wish = {"resolve": f"{settings.hub_service}.{settings.namespace}"}
    return await made.run(pods.proxy(run, hub, proxies, settings, wish))


async def _image(
    made: Pods, run: str, number: int, image: Image, settings: KubernetesSettings
) -> Outcome:
    trial = pods.server(run, f"image{number}", image.reference, settings, {}, image.pull_policy)
    return await made.run(trial)


async def _rights_taken(api: Api, run: str, settings: KubernetesSettings) -> bool | None:
    """Whether a pod with every right would be taken; only asked, never made."""
    body = pods.with_rights(f"courseyard-probe-{run}-rights", settings)
    try:
        await api.post(_PODS.format(settings.users_namespace), body, dryRun="All")
    except RefusedError as error:
        return False if "PodSecurity" in error.detail else None
    return True


class Pods:
    """Pods of one probe: made one by one, taken away together."""

    def __init__(self, api: Api, settings: KubernetesSettings) -> None:
        self._api = api
        self._settings = settings
        self._made: dict[str, asyncio.Task[Object]] = {}
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def __aenter__(self) -> Pods:
        for space in (self._settings.users_namespace, self._settings.namespace):
            await self._tidy(space)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Delete what was made, and what may be made by a request that is still under way."""
        if self._made:
            await asyncio.wait(self._made.values())
        made = [path for path, task in self._made.items() if not _was_refused(task)]
        removed = await asyncio.gather(*map(self._delete, made), return_exceptions=True)
        failed = next((each for each in removed if isinstance(each, BaseException)), None)
        if failed is not None and kind is None:
            raise BackendError(
                "The short-lived pods of this check could not be taken away.",
                f"They end by themselves: `kubectl delete pods -A -l {pods.PROBE_LABEL}` removes them.",
                detail=str(getattr(failed, "detail", failed)),
            ) from failed

    async def _tidy(self, namespace: str) -> None:
        """Delete pods that a killed check left; those of one that runs have not ended."""
        path = _PODS.format(namespace)
        try:
            left = await self._api.items(path, labelSelector=pods.PROBE_LABEL)
            for pod in left:
                if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
                    await self._delete(f"{path}/{pod['metadata']['name']}")
        except RefusedError:
            return  # whoever may not delete finds the pods refused, too

    async def _delete(self, path: str) -> None:
        await self._api.delete(path, gracePeriodSeconds="1")

    async def run(self, trial: pods.Trial) -> Outcome:
        """Make the pod of a trial and wait for what it says.

        Raises:
            BackendError: the cluster does not answer.
        """
        async with self._turn:
            return await self._run(trial)

    async def _run(self, trial: pods.Trial) -> Outcome:
        folder = _PODS.format(trial.namespace)
        path = f"{folder}/{trial.name}"
        body = pods.manifest(trial, self._settings)
        self._made[path] = asyncio.ensure_future(self._api.post(folder, body))
        try:
            await asyncio.shield(self._made[path])
        except RefusedError as error:
            return Outcome(State.REFUSED, error.detail)
        until = time.monotonic() + _PATIENCE
        while True:
            pod = await self._api.get(path)
            log = await self._api.text(f"{path}/log", limitBytes="20000") if _started(pod) else ""
            if (found := outcome.of_pod(pod, log)) is not None:
                return await self._with_clock(path, found)
            if time.monotonic() > until:
                return outcome.too_late(pod)
            await asyncio.sleep(_LOOK)

    async def _with_clock(self, path: str, found: Outcome) -> Outcome:
        """Of three measurements the best: a busy node writes late, which looks like a slow clock."""
        if found.state is not State.RAN:
            return found
        spans = []
        for _ in range(3):
            before = time.time()
            shown = outcome.clock_in(await self._api.text(f"{path}/log", tailLines="1"))
            if shown is not None:
                spans.append((shown - time.time(), shown + _STEP - before))
            await asyncio.sleep(_STEP)
        best = min(spans, key=lambda span: abs(sum(span)), default=None)
        return replace(found, clock=best)


def _was_refused(made: asyncio.Task[Object]) -> bool:
    return not made.cancelled() and isinstance(made.exception(), RefusedError)


def _started(pod: Object | None) -> bool:
    statuses = ((pod or {}).get("status") or {}).get("containerStatuses") or []
    return any(set(item.get("state") or {}) & {"running", "terminated"} for item in statuses)
