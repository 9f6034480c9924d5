"""The cluster that kubectl's current context names: objects as the dictionaries that they are in JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import yaml
from kubernetes_asyncio.client import ApiClient, ApiException, Configuration
from kubernetes_asyncio.config import ConfigException, kube_config

from courseyard.backends.kubernetes import reasons
from courseyard.errors import BackendError

Object = dict[str, Any]
_TIMEOUT = 15  # seconds for one request


class RefusedError(BackendError):
    """The API server said no; ``status`` is its HTTP status, ``detail`` its sentence."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__("The cluster refused.", detail=detail)
        self.status = status


class Api:
    """Requests by path.

    Every method raises :class:`RefusedError` for an answer that is no, and ``BackendError`` when
    there is none.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    @property
    def server(self) -> str:
        return str(self._client.configuration.host)

    async def get(self, path: str, **query: str) -> Object | None:
        """An object or list; None where there is none."""
        try:
            return self._object(await self._ask("GET", path, query))
        except RefusedError as error:
            if error.status == 404:
                return None
            raise

    async def items(self, path: str, **query: str) -> list[Object]:
        """The objects of a list."""
        return list((await self.get(path, **query) or {}).get("items") or ())

    async def text(self, path: str, **query: str) -> str:
        """A log; "" when there is none yet."""
        try:
            return await self._ask("GET", path, query)
        except RefusedError as error:
            if error.status in (
                400,
                404,
                500,
            ):  # the container has not started, or its node is silent
                return ""
            raise

    async def post(self, path: str, body: Object, **query: str) -> Object:
        return self._object(await self._ask("POST", path, query, body))

    async def delete(self, path: str, **query: str) -> None:
        """Delete an object, which need not be there."""
        try:
            await self._ask("DELETE", path, query)
        except RefusedError as error:
            if error.status != 404:
                raise

    def _object(self, text: str) -> Object:
        try:
            return dict(json.loads(text))
        except (ValueError, TypeError) as error:
            raise _silent(self.server, error) from error

    async def _ask(self, method: str, path: str, query: dict[str, str], body: Any = None) -> str:
        try:
            answer = await self._client.call_api(
                path,
                method,
                query_params=list(query.items()),
                header_params={"Accept": "application/json, */*"},
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _request_timeout=_TIMEOUT,
            )
            text = str((await answer.read()).decode(errors="replace"))
        except (
            TimeoutError,
            OSError,
            ApiException,
        ) as error:  # aiohttp's connection errors are OSErrors
            raise _silent(self.server, error) from error
        except Exception as error:
            # A broken answer, a proxy in between: aiohttp's other errors have no class in common with it.
            if type(error).__module__.partition(".")[0] != "aiohttp":
                raise
            raise _silent(self.server, error) from error
        if answer.status == 401:
            raise BackendError(
                "The cluster does not know you.",
                "Log in to it again: `kubectl get ns` must work for the current context.",
                detail=reasons.sentence_of(text),
            )
        if answer.status in (429, 502, 503, 504):
            raise _silent(self.server, f"HTTP {answer.status} {text}")
        if answer.status >= 300:
            raise RefusedError(answer.status, reasons.sentence_of(text))
        return text


def _silent(server: str, error: Exception | str) -> BackendError:
    return BackendError(
        f"No cluster answers at {server}.",
        "Look at it with `kubectl cluster-info`; `kubectl config get-contexts` shows which cluster is asked.",
        detail=str(error) or type(error).__name__,
    )


@asynccontextmanager
async def connected() -> AsyncIterator[Api]:
    """The cluster of the current context, as kubectl finds it.

    Raises:
        BackendError: no context can be used, or nothing answers; the sentence says why.
    """
    settings: Any = type.__call__(Configuration)
    try:
        await asyncio.wait_for(
            kube_config.load_kube_config(client_configuration=settings, persist_config=False), 30
        )
        client = ApiClient(configuration=settings)
    except (
        ConfigException, OSError, TimeoutError, yaml.YAMLError,
        AttributeError, KeyError, TypeError, ValueError,
    ) as error:  # fmt: skip  # the library checks little of the file
        raise BackendError(
            "There is no cluster to ask: kubectl's configuration names none that can be used.",
            "Set KUBECONFIG, or choose a context with `kubectl config use-context`; "
            "`kubectl get ns` must work first.",
            detail=str(error),
        ) from error
    try:
        api = Api(client)
        with suppress(RefusedError):  # one request first: a server that is away is waited for once
            await api.get("/version")
        yield api
    finally:
        await client.close()
