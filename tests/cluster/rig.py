"""A Kubernetes for tests: kubectl with types, a cluster of this machine, and our images in its nodes.

A cluster that ``KUBECONFIG`` names is taken as it is, with the images that it has: load them with
``script/images --save DIR``. Without it there is ``../shared/cluster`` beside the repository, or the
folder that ``COURSEYARD_TEST_CLUSTER`` names: started, and given the images that it lacks.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
NODES = 2
HUB = "courseyard-hub:dev"
PROXY = "courseyard-proxy:dev"
PYTHON = "courseyard-python:2026-08-15"

Manifest = Mapping[str, Any]


class KubectlError(AssertionError):
    """kubectl said no; the message is what it wrote."""


def _run(words: Sequence[str], stdin: str | None = None, timeout: float = 300) -> str:
    try:
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise KubectlError(f"{' '.join(words)}: not done after {timeout:.0f} s") from error
    if done.returncode:
        raise KubectlError(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


class LocalCluster:
    """``../shared/cluster``: the upstream programs of Kubernetes on this machine, as root."""

    def __init__(self) -> None:
        beside = REPOSITORY.parent / "shared" / "cluster"
        self.program = Path(os.environ.get("COURSEYARD_TEST_CLUSTER") or beside) / "cluster"
        self.state = Path(os.environ.get("CLUSTER_STATE", "/var/lib/courseyard-cluster"))
        self.kubeconfig = self.state / "admin.kubeconfig"
        self.started_by_tests = self.state / "started-by-tests"  # gone with `cluster down`

    def usable(self) -> bool:
        return os.geteuid() == 0 and os.access(self.program, os.X_OK)

    def runs(self) -> bool:
        """Whether its API server lives, and its nodes' networks are where its programs look.

        The API server need not answer at once on a busy machine. Networks are mounts: seen from
        elsewhere (another mount namespace) they are not there, and policies would not be enforced.
        """
        try:
            process = int((self.state / "pids" / "apiserver").read_text())
            lives = b"apiserver" in Path(f"/proc/{process}/cmdline").read_bytes()
            home = Path("/run/netns").stat().st_dev
            return lives and all(
                Path(f"/run/netns/cyard{node}").stat().st_dev != home for node in self.nodes()
            )
        except (OSError, ValueError):
            return False

    def kubectl(self) -> list[str]:
        return [str(self.state / "bin" / "cluster"), "kubectl"]

    def run(self, *words: str) -> None:
        _run([str(self.program), *words], timeout=900)

    def up(self) -> None:
        """Start what does not run; a cluster of another size stays as it is."""
        if not self.runs():
            # What a run that was cut off left; its process numbers may be somebody else's by now.
            shutil.rmtree(self.state / "pids", ignore_errors=True)
            self.run("down")
            self.state.mkdir(parents=True, exist_ok=True)
            self.started_by_tests.touch()
        self.run("up", "--nodes", str(len(self.nodes()) or NODES))

    def nodes(self) -> list[int]:
        found = self.state.glob("node[0-9]*")
        return sorted(int(path.name.removeprefix("node")) for path in found if path.is_dir())

    def on_all_nodes(self, *words: str) -> set[tuple[str, ...]]:
        """The lines that containerd's ``ctr`` writes on each of the nodes, in words."""
        found = []
        for node in self.nodes():
            program = ("ctr", "--address", f"/run/cyard{node}/containerd.sock", "-n", "k8s.io")
            lines = _run([*program, *words]).splitlines()
            found.append({tuple(line.split()) for line in lines})
        return set.intersection(*found)

    def load(self, images: Sequence[Image]) -> None:
        """Bring images into all nodes; quick for those that are there."""
        there = {(line[0], line[2]) for line in self.on_all_nodes("images", "list")}
        for image in images:
            if (image.tag, image.digest) in there:
                continue
            with tempfile.TemporaryDirectory(prefix="cy-images-", dir="/var/tmp") as folder:
                _script_images("--save", folder, image.name)
                blobs = {line[0] for line in self.on_all_nodes("content", "list", "--quiet")}
                full = Path(folder) / f"{image.name}.tar"
                try:
                    self.run("load", str(without(full, blobs)))
                except KubectlError:
                    # The blobs are there, but what was unpacked of them has been tidied away.
                    self.run("load", str(full))


def without(archive: Path, blobs: set[str]) -> Path:
    """A copy of an OCI archive that lacks ``blobs``: the node has them, and half a gigabyte is slow."""
    thin = archive.with_suffix(".thin.tar")
    with tarfile.open(archive) as full, tarfile.open(thin, "w") as part:
        for member in full:
            if f"sha256:{member.name.rpartition('/')[2]}" not in blobs:
                part.addfile(member, full.extractfile(member) if member.isfile() else None)
    return thin


@dataclass(frozen=True)
class Image:
    """An image that podman has; a node that has it shows the same tag with the same digest."""

    name: str
    tag: str
    digest: str


def _script_images(*words: str) -> str:
    return _run([str(REPOSITORY / "script" / "images"), *words], timeout=1800)


def built_images() -> list[Image]:
    """The images of this checkout: built where they are missing or older than their files."""
    return [Image(*line.split()) for line in _script_images().splitlines()]


class Kube:
    """kubectl for one cluster. Objects are the dictionaries that their YAML would be."""

    def __init__(
        self,
        kubeconfig: Path,
        program: Sequence[str] = ("kubectl",),
        local: LocalCluster | None = None,
    ) -> None:
        self.kubeconfig = kubeconfig
        self.program = tuple(program)
        self.local = local

    def words(self, *words: str) -> list[str]:
        """The command line, for those who run kubectl themselves (``port-forward``, ``exec``)."""
        return [*self.program, f"--kubeconfig={self.kubeconfig}", *words]

    def kubectl(self, *words: str, input: str | None = None, timeout: float = 300) -> str:
        """What kubectl writes.

        Raises:
            KubectlError: with what it wrote on standard error.
        """
        return _run(self.words(*words), input, timeout)

    def apply(self, manifests: Sequence[Manifest]) -> None:
        listed = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self.kubectl("apply", "-f", "-", input=json.dumps(listed))

    def get(self, kind: str, name: str, namespace: str = "default") -> dict[str, Any] | None:
        """One object; None where it is not."""
        words = ("get", kind, name, "-n", namespace, "-o", "json", "--ignore-not-found")
        found = self.kubectl(*words)
        return dict(json.loads(found)) if found.strip() else None

    def find(
        self, kind: str, namespace: str = "default", selector: str = ""
    ) -> list[dict[str, Any]]:
        words = [
            "get",
            kind,
            "-n",
            namespace,
            "-o",
            "json",
            *(["-l", selector] if selector else []),
        ]
        return list(json.loads(self.kubectl(*words))["items"])

    def delete(
        self, kind: str, name: str, namespace: str = "default", *, wait: bool = True
    ) -> None:
        """Delete one object, which need not be there."""
        words = ("delete", kind, name, "-n", namespace, "--ignore-not-found")
        self.kubectl(*words, f"--wait={str(wait).lower()}")

    def wait(
        self, kind: str, name: str, condition: str, namespace: str = "default", seconds: int = 60
    ) -> None:
        """Wait for a condition as kubectl knows it: ``condition=Ready``, ``delete``, ``jsonpath=…``."""
        words = ("wait", f"{kind}/{name}", "-n", namespace, f"--for={condition}")
        self.kubectl(*words, f"--timeout={seconds}s", timeout=seconds + 30)

    def ended(self, pod: str, namespace: str = "default", seconds: float = 60) -> int:
        """Wait until a pod's first container has ended for good.

        Returns:
            Its exit code.
        """
        until = time.monotonic() + seconds
        status: Mapping[str, Any] = {}
        while time.monotonic() < until:
            status = (self.get("pod", pod, namespace) or {}).get("status", {})
            if status.get("phase") in ("Succeeded", "Failed"):
                return int(status["containerStatuses"][0]["state"]["terminated"]["exitCode"])
            time.sleep(0.3)
        raise KubectlError(f"pod {pod} has not ended after {seconds:.0f} s: {json.dumps(status)}")

    def logs(self, pod: str, namespace: str = "default", container: str = "") -> str:
        words = ["logs", pod, "-n", namespace, *(["-c", container] if container else [])]
        return self.kubectl(*words)

    def node_names(self) -> list[str]:
        """Real nodes alone: those of ``cluster up --simulated`` only pretend."""
        nodes = json.loads(self.kubectl("get", "nodes", "-l", "type!=simulated", "-o", "json"))
        return sorted(node["metadata"]["name"] for node in nodes["items"])

    def node_address(self, node: str = "") -> str:
        """The address where a node's ports (NodePort) answer from here."""
        found = self.get("node", node or self.node_names()[0]) or {}
        addresses = {each["type"]: str(each["address"]) for each in found["status"]["addresses"]}
        return addresses.get("ExternalIP") or addresses["InternalIP"]

    def node(self, action: str, number: int) -> None:
        """``pause``, ``resume``, ``kill`` or ``start`` a node; skips where that cannot be done."""
        if self.local is None:
            pytest.skip("nodes can be killed only in ../shared/cluster")
        self.local.run("node", action, str(number))


def usable() -> bool:
    """Whether this machine has a cluster, or can start one."""
    if os.environ.get("KUBECONFIG"):
        return _is_local() or shutil.which("kubectl") is not None
    return LocalCluster().usable()


def _is_local() -> bool:
    """Whether ``KUBECONFIG`` names the cluster that we would start."""
    given, local = os.environ.get("KUBECONFIG", ""), LocalCluster()
    return local.usable() and (not given or Path(given).resolve() == local.kubeconfig.resolve())


@contextmanager
def running() -> Iterator[Kube]:
    """A running cluster with the images; one that test runs started is stopped after the last."""
    if not _is_local():
        yield Kube(Path(os.environ["KUBECONFIG"]))
        return
    local = LocalCluster()
    images = built_images()
    with _lock("users", fcntl.LOCK_SH) as users:
        try:
            with _lock("start", fcntl.LOCK_EX):
                local.up()
                local.load(images)
            yield Kube(local.kubeconfig, local.kubectl(), local)
        finally:
            _leave(local, users)


@contextmanager
def _lock(name: str, kind: int) -> Iterator[IO[str]]:
    """Test runs on one machine share its cluster, and only one of them may start it."""
    with open(f"/run/courseyard-cluster.{name}", "w") as file:
        fcntl.flock(file, kind)
        yield file


def _leave(local: LocalCluster, users: IO[str]) -> None:
    """The last run that uses the cluster stops it, where a run started it and it is not to stay."""
    if os.environ.get("COURSEYARD_KEEP_CLUSTER") == "1":
        local.started_by_tests.unlink(missing_ok=True)
    if not local.started_by_tests.exists():
        return
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    local.run("down")
