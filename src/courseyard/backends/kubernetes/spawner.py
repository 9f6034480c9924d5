"""A thin KubeSpawner: its pod is the plan's, its words are ours.

What KubeSpawner 7.1 does itself (creating, deleting, finding pods again after a restart of the hub)
stays its business; what it watches is cut to size in watches.py.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from kubernetes_asyncio.client import ApiException
from kubespawner import KubeSpawner

from courseyard.backends.base import Exit, Progress
from courseyard.backends.kubernetes import grading, manifests, reasons, watches
from courseyard.backends.kubernetes.gradingpods import Beside, GradingPods
from courseyard.errors import StartError
from courseyard.plan.model import ServerPlan

_LOOK = 0.25  # seconds between two looks at what the watches brought
_LOOKS = 20  # before an answer comes, whatever it is


class PodSpawner(KubeSpawner):
    """Runs one plan as one pod."""

    _starts = False  # just now
    _grading: GradingPods | None = None

    def use(self, plan: ServerPlan, cluster: manifests.Cluster) -> None:
        """Set every trait that makes the pod; nothing of an earlier plan stays (trap 6)."""
        traits = manifests.traits(plan, cluster)
        if plan.grading is not None:
            traits["environment"] |= grading.variables(secrets.token_hex(32))
        for name, value in traits.items():
            setattr(self, name, value)

    def _expand_all(self, src: Any) -> Any:
        """Nothing of a plan is a template: a ``{`` in a title or a name is a ``{``."""
        return src

    async def load_user_options(self) -> None:
        """What came along with a start chooses nothing, and a name of a profile breaks nothing."""

    def get_env(self) -> dict[str, Any]:
        """The environment with ``$`` doubled, since Kubernetes expands ``$(NAME)`` in values."""
        found: dict[str, Any] = super().get_env()
        return {k: str(v).replace("$", "$$") for k, v in found.items() if v is not None}

    @property
    def pod_key(self) -> str:
        return f"{self.namespace}/{self.pod_name}"

    @property
    def pod(self) -> dict[str, Any] | None:
        """The pod as the watch last saw it; None when there is none."""
        reflector = self.pod_reflector
        return None if reflector is None else reflector.pods.get(self.pod_key)

    @property
    def events(self) -> list[dict[str, Any]]:
        """What the cluster has said about this start, the latest last."""
        reflector = self.event_reflector
        found = [] if reflector is None else reflector.of(self.pod_name)
        # Those up to the last one of an earlier pod of this name are not about this one.
        known = [event["metadata"]["uid"] for event in found]
        return found[known.index(self._last_event) + 1 :] if self._last_event in known else found

    async def _start_watching_pods(self, replace: bool = False) -> Any:
        return await self._start_reflector(
            kind="pods",
            reflector_class=watches.Pods,
            labels={"component": self.component_label},
            omit_namespace=self.enable_user_namespaces,
            replace=replace,
        )

    async def _start_watching_events(self, replace: bool = False) -> Any:
        return await self._start_reflector(
            kind="events",
            reflector_class=watches.Events,
            fields={"involvedObject.kind": "Pod"},
            omit_namespace=self.enable_user_namespaces,
            replace=replace,
        )

    def is_pod_running(self, pod: Any) -> Any:
        """Whether it runs. KubeSpawner asks with pauses of up to five seconds while a pod starts;
        the answer waits then, so that nobody waits for the end of a pause.
        """
        runs = super().is_pod_running(pod)
        return runs if runs or not self._starts else self._runs_soon()

    async def _runs_soon(self) -> bool:
        for _ in range(_LOOKS):
            await asyncio.sleep(_LOOK)
            if super().is_pod_running(self.pod):
                return True
        return False

    async def launch(self, plan: ServerPlan, tell: Callable[[Progress], None]) -> str:
        """Create the pod and wait until its container runs; the beginning of its URL.

        Raises:
            BackendError, StorageError: it cannot run; the person's sentence says why.
        """
        started = asyncio.ensure_future(KubeSpawner.start(self))
        self._starts = True
        try:
            while not started.done():
                await asyncio.wait({started}, timeout=_LOOK)
                if not started.done() and self.pod is not None:
                    tell(reasons.step(self.pod, self.events, plan))
            return str(await started)
        except ApiException as error:
            body = str(error.body or error)
            raise reasons.refused(error.status or 0, body, _what(plan)) from error
        except TimeoutError as error:
            raise self.late(plan, str(error)) from error
        except OSError as error:  # aiohttp's connection errors are OSErrors
            raise reasons.refused(0, str(error), _what(plan)) from error
        finally:
            self._starts = False
            if not started.done():
                started.cancel()
                with suppress(BaseException):
                    await started

    def late(self, plan: ServerPlan, sentence: str) -> Exception:
        """Why it was not ready in time, as far as the cluster said."""
        with suppress(StartError):
            return reasons.too_late(self.pod, self.events, plan, sentence)
        return StartError(sentence)

    async def look(self, mem_limit: int) -> Exit | None:
        """How the pod ended; None while it runs.

        Args:
            mem_limit: bytes, for the sentence about it.
        """
        await self._start_watching_pods()
        await self._start_watching_events()
        return reasons.exit_of(self.pod, mem_limit, self.events)

    async def remove(self, *, now: bool) -> None:
        """Delete the pod and wait until it is gone; no-op when it is."""
        await KubeSpawner.stop(self, now=now)

    async def beside(self) -> Beside:
        """The pod in which this server's submissions are graded, made where there is none.

        Raises:
            NoGradingError: nothing is graded in this server.
            BackendError, StartError, UnsupportedError: the cluster does not answer, or refused.
        """
        if self._grading is None or self._grading.server != self.pod_name:
            self._grading = GradingPods(self.api, self.namespace, self.pod_name)
        return await self._grading.find_or_make()

    async def tail(self, lines: int) -> str:
        """The last lines that the pod wrote; "" when there are none."""
        with suppress(ApiException, OSError):
            text = await self.api.read_namespaced_pod_log(
                name=self.pod_name,
                namespace=self.namespace,
                container=reasons.CONTAINER,
                tail_lines=lines,
                limit_bytes=lines * 500,
            )
            return str(text)
        return ""


def _what(plan: ServerPlan) -> str:
    return f"the server of “{plan.title}”"
