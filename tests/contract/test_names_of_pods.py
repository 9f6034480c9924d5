"""A name that is asked for is a way out: which servers of a cluster reach a name server, and no more."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conftest import Inside
from tests.contract.pods import PodYard
from tests.contract.test_walls_of_pods import reached

#: Answers every datagram, and takes connections at its own port and at one for nobody's eyes.
_NAME_SERVER = """
import socket, threading
def datagrams():
    found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    found.bind(("0.0.0.0", 53))
    while True:
        data, sender = found.recvfrom(512)
        found.sendto(data, sender)
threading.Thread(target=datagrams, daemon=True).start()
other = socket.create_server(("0.0.0.0", 9153))
main = socket.create_server(("0.0.0.0", 53))
while True:
    main.accept()[0].close()
"""
#: Whether the name server answers a datagram, takes a connection, and takes one at its other port.
_ASK = """
import socket
def connects(port):
    try:
        socket.create_connection(({host!r}, port), 1).close()
        return True
    except OSError:
        return False
value = []
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
    asking.settimeout(1)
    asking.sendto(b"name", ({host!r}, 53))
    try:
        value.append(asking.recv(512) == b"name")
    except OSError:
        value.append(False)
value += [connects(53), connects(9153)]
"""
_SETTLE = 15.0  # seconds for policies to act


@pytest.fixture
def name_server(pods: PodYard) -> Iterator[str]:
    """The address of a pod where a cluster's name server is."""
    about = {"name": "names-of-the-contract", "namespace": "kube-system"}
    container = {
        "name": "names",
        "image": pods.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/opt/image/bin/python", "-I", "-c", _NAME_SERVER],
        "securityContext": {"runAsUser": 0},
        "readinessProbe": {"tcpSocket": {"port": 53}, "periodSeconds": 1},
    }
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    pods.kube.apply([{"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": spec}])
    try:
        pods.kube.wait("pod", about["name"], "condition=Ready", about["namespace"], 60)
        found = pods.kube.get("pod", about["name"], about["namespace"]) or {}
        yield str(found["status"]["podIP"])
    finally:
        pods.kube.delete("pod", about["name"], about["namespace"])


def asked(inside: Inside, host: str, wanted: list[bool]) -> list[bool]:
    """What came of asking, once it is as ``wanted`` or after a while."""
    end = time.monotonic() + _SETTLE
    while True:
        found: list[bool] = inside.run(_ASK.format(host=host))
        if found == wanted or time.monotonic() > end:
            return found
        time.sleep(0.5)


def test_no_name_leaves_a_server_without_network(
    pods: PodYard, make_plan: Callable[..., Any], name_server: str
) -> None:
    inside = pods.start(make_plan("student", "alice", 20101))
    try:
        code = "value = open('/etc/resolv.conf').read()"
        assert "nameserver 127.0.0.1" in inside.run(code)
        nothing, everything = [False] * 3, [True] * 3
        assert inside.run(_ASK.format(host=name_server)) == nothing
        with pods.without_policies():
            assert asked(inside, name_server, everything) == everything
        assert asked(inside, name_server, nothing) == nothing
    finally:
        pods.stop(inside.handle, now=True)


def test_the_internet_has_names_and_nothing_of_the_cluster(
    pods: PodYard, make_plan: Callable[..., Any], name_server: str
) -> None:
    plan = make_plan("student", "alice", 20101).model_copy(update={"network": "full"})
    inside = pods.start(plan)
    other = pods.start(make_plan("student", "bob", 20102))
    try:
        names_alone = [True, True, False]
        assert asked(inside, name_server, names_alone) == names_alone
        targets = pods.unreachable(other)
        assert reached(inside, targets) == [False] * len(targets)
    finally:
        pods.stop(inside.handle, now=True)
        pods.stop(other.handle, now=True)
