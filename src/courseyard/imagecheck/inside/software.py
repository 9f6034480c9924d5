"""The image's packages and kernels."""

from __future__ import annotations

from functools import partial
from typing import Any

from .place import Place
from .programs import probe
from .report import FailedError, Test


def tests(job: dict[str, Any], place: Place) -> list[Test]:
    """A test for each package, one for the hub's version, and one for each kernel."""
    found: list[Test] = [
        (f"import {name}", partial(_import, name, module, place))
        for name, module in job["packages"].items()
    ]
    found.append(("JupyterHub fits the hub", partial(_fits, job["hub"], place)))
    try:
        names = _probe("probe_kernel.py", place=place)
    except FailedError as error:
        return [*found, ("kernels", partial(_fail, str(error)))]
    if not names:
        return [*found, ("kernels", partial(_fail, "There is no kernel in the image."))]
    return [*found, *((f"kernel {name}", partial(_kernel, name, place)) for name in names)]


def _probe(script: str, *words: str, place: Place) -> Any:
    environment = place.environment("student")
    return probe(script, *words, folder=place.notebooks, environment=environment)


def _fail(sentence: str) -> str:
    raise FailedError(sentence)


def _import(name: str, module: str, place: Place) -> str:
    words = [name, module] if module else [name]
    return str(_probe("probe_import.py", *words, place=place))


def _fits(hub: str, place: Place) -> str:
    """JupyterHub asks for the same major version (jupyterhub/_version.py)."""
    own = _import("jupyterhub", "", place)
    if own.partition(".")[0] != hub.partition(".")[0]:
        raise FailedError(
            f"The image has JupyterHub {own}, the hub is {hub}: people would not be let in. "
            "Make a release with the hub's version."
        )
    return f"{own}, the hub is {hub}"


def _kernel(name: str, place: Place) -> str:
    return str(_probe("probe_kernel.py", name, place=place))
