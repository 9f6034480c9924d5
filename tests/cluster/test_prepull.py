"""Images are on all nodes before anybody starts; one that is nowhere hinders no other."""

from __future__ import annotations

from typing import Any

from tests.cluster.deployed import Deployed
from tests.cluster.rig import PYTHON

ABSENT = "courseyard-gpu:2026-06-01"


def told(yard: Deployed) -> dict[str, dict[str, dict[str, Any]]]:
    """Node → image → state of its container."""
    return {
        pod["spec"]["nodeName"]: {
            status["image"].removeprefix("docker.io/library/"): status["state"]
            for status in pod["status"].get("containerStatuses", [])
        }
        for pod in yard.pods(component="prepuller")
        if pod["spec"].get("nodeName")
    }


def test_every_node_has_what_there_is(yard: Deployed) -> None:
    nodes = set(yard.kube.node_names())

    def done() -> bool:
        found = told(yard)
        return set(found) >= nodes and all(
            "running" in found[node].get(PYTHON, {}) and "waiting" in found[node].get(ABSENT, {})
            for node in nodes
        )

    yard.wait(done, 120, "each node runs the one image and lacks the other")
    for node in nodes:
        assert told(yard)[node][ABSENT]["waiting"]["reason"] in ("ErrImagePull", "ImagePullBackOff")
    for pod in yard.pods(component="prepuller"):
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert not pod["spec"].get("volumes")


def test_the_missing_image_does_not_hold_up_a_new_one(yard: Deployed) -> None:
    """The order of the file does not matter: what comes after the missing image is there, too."""
    path = "kubernetes/prepuller.yaml"
    before = (yard.folder / path).read_text()
    first, second = f"image: {PYTHON}", f"image: {ABSENT}"
    swapped = before.replace(first, "image: X").replace(second, first).replace("image: X", second)
    assert swapped != before
    (yard.folder / path).write_text(swapped)
    try:
        yard.apply()

        def new() -> bool:
            found = told(yard)
            names = {
                pod["spec"]["containers"][0]["image"] for pod in yard.pods(component="prepuller")
            }
            return names == {ABSENT} and all(
                "running" in found.get(node, {}).get(PYTHON, {}) for node in yard.kube.node_names()
            )

        yard.wait(new, 120, "the pods of all nodes are new, and run what is there")
    finally:
        (yard.folder / path).write_text(before)
        yard.apply()
