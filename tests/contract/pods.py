"""Plans as real pods, with a probe instead of the server: the contract's second backend.

The pods are those that the hub would make: the same manifests, the same spawner, the policies of
``deploy/kubernetes``, the image's own start program up to its last step.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets as random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.rig import Kube
from tests.conftest import Inside

NAMESPACE = "contract"
HUB_PORT = 8083
#: The probe in the place of the server, after all that the start program does before it.
PROBE = """
import sys, types
sys.path.insert(0, "/opt/courseyard/singleuser")
import start
import http.server, json, threading, traceback

class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        space = {}
        try:
            exec(self.rfile.read(int(self.headers["Content-Length"])).decode(), space)
            answer = {"value": space.get("value")}
        except BaseException:
            answer = {"error": traceback.format_exc()}
        self.send_response(200); self.end_headers(); self.wfile.write(json.dumps(answer).encode())
    def log_message(self, *a): pass

def become(plan, descriptor):
    print("probe ready", flush=True)
    http.server.ThreadingHTTPServer(("0.0.0.0", 8888), Handler).serve_forever()

parts = start.part
start.part = lambda name: types.SimpleNamespace(become=become) if name == "server" else parts(name)
start.main()
"""
_HUB = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=8083, bind='0.0.0.0')"


class PodYard:
    """One site whose servers are pods; has what the sandbox's Yard has (tests/conftest.py)."""

    real = True
    #: Made by the kubelet and the runtime as root: a person cannot write there (tested below).
    own_mounts = frozenset({"/home", "/dev", "/etc/hosts", "/sys/fs/cgroup"})
    own_variables = frozenset({"HOSTNAME", "JUPYTER_CONFIG_PATH"})
    own_files = (".courseyard",)
    own_processes = ("start.main()",)
    runs_gpus = True

    def __init__(self, kube: Kube, image: str) -> None:
        from courseyard.settings import KubernetesSettings, Site

        self.kube = kube
        self.image = image
        self.hub_port = HUB_PORT
        self.folder = Path(tempfile.mkdtemp(prefix="cy-pods-", dir="/tmp"))
        self.storage = Path(f"/srv/{NAMESPACE}-storage")
        self.site = Site(
            folder=self.folder,
            backend="kubernetes",
            kubernetes=KubernetesSettings(
                namespace=NAMESPACE, users_namespace=f"{NAMESPACE}-users", site_label=NAMESPACE
            ),
        )
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.pods: dict[str, Any] = {}
        self.addresses: dict[str, str] = {}  # host:port inside the cluster
        self.forwards: dict[str, subprocess.Popen[str]] = {}

    def call(self, work: Coroutine[Any, Any, Any], timeout: float = 120) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout)

    # --- the cluster's side -------------------------------------------------------------------

    def up(self) -> None:
        """Namespaces, policies and storage as ``courseyard init --kubernetes`` writes them."""
        shutil.rmtree(self.storage, ignore_errors=True)
        site = self.folder / "site"
        words = [sys.executable, "-m", "courseyard.cli", "init", str(site)]
        subprocess.run([*words, "--kubernetes", "--namespace", NAMESPACE], check=True)
        made = self.kube.kubectl("kustomize", str(site / "kubernetes" / "overlays" / "one-node"))
        kinds = (
            "Namespace",
            "NetworkPolicy",
            "PersistentVolume",
            "PersistentVolumeClaim",
            "Service",
        )
        wanted = [item for item in yaml.safe_load_all(made) if item["kind"] in kinds]
        wanted = [item for item in wanted if item["metadata"]["name"] not in ("proxy", "hub-state")]
        self.policies = [item for item in wanted if item["kind"] == "NetworkPolicy"]
        self.kube.apply([*wanted, self._hub_double()])
        words = ("wait", "-n", NAMESPACE, "pod/hub", "--for=condition=Ready", "--timeout=120s")
        self.kube.kubectl(*words)
        found = json.loads(self.kube.kubectl("get", "svc", "hub", "-n", NAMESPACE, "-o", "json"))
        self.hub_url = f"http://{found['spec']['clusterIP']}:{HUB_PORT}"
        dns = self.kube.kubectl(
            "get", "svc", "-A", "-o", "json", "--field-selector=metadata.name=kube-dns"
        )
        listed = json.loads(dns)["items"]
        self.name_server = listed[0]["spec"]["clusterIP"] if listed else "198.18.0.10"
        hub = json.loads(self.kube.kubectl("get", "pod", "hub", "-n", NAMESPACE, "-o", "json"))
        self.hub_address = hub["status"]["podIP"]

    def _hub_double(self) -> dict[str, Any]:
        python = ["/opt/image/bin/python", "-I", "-c", _HUB]
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "hub",
                "namespace": NAMESPACE,
                "labels": {"app": NAMESPACE, "component": "hub"},
            },
            "spec": {
                "automountServiceAccountToken": False,
                "containers": [
                    {
                        "name": "hub",
                        "image": self.image,
                        "imagePullPolicy": "IfNotPresent",
                        "command": python,
                        "ports": [{"name": "servers", "containerPort": HUB_PORT}],
                        "readinessProbe": {"tcpSocket": {"port": HUB_PORT}, "periodSeconds": 1},
                    }
                ],
            },
        }

    def close(self) -> None:
        for handle in list(self.pods):
            self.stop(handle, now=True)
        self.call(self._close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        for name in (f"{NAMESPACE}-users", NAMESPACE):
            self.kube.kubectl("delete", "ns", name, "--wait=false")
        for name in (f"{NAMESPACE}-storage", f"{NAMESPACE}-users-storage"):
            self.kube.kubectl("delete", "pv", name, "--wait=false")
        shutil.rmtree(self.folder)

    async def _close(self) -> None:
        from courseyard.backends.kubernetes.spawner import PodSpawner

        await PodSpawner._stop_all_reflectors()

    # --- one server ---------------------------------------------------------------------------

    def spawner(self, plan: Any, environment: dict[str, str]) -> Any:
        """A spawner as the hub has one, but without a hub."""
        from kubernetes_asyncio.config import kube_config

        from courseyard.backends.kubernetes.manifests import Cluster
        from courseyard.backends.kubernetes.spawner import PodSpawner

        class Probe(PodSpawner):
            def get_env(self) -> dict[str, str]:
                found = dict(self.environment) | environment
                return {key: value.replace("$", "$$") for key, value in found.items()}

        kube_config.KUBE_CONFIG_DEFAULT_LOCATION = str(self.kube.kubeconfig)
        spawner = Probe(_mock=True)
        spawner.use(plan, Cluster.of(self.site))
        spawner.image = self.image
        spawner.start_timeout = plan.start_timeout
        spawner.extra_container_config = {"command": ["/opt/image/bin/python", "-I", "-c", PROBE]}
        spawner.pod_name = f"server-{plan.identity.username}-{random.token_hex(3)}"
        return spawner

    async def _start(self, plan: Any, environment: dict[str, str], tell: Any = None) -> Any:
        from courseyard.storage import apply

        await asyncio.to_thread(apply.ensure, self.storage, plan.storage)
        spawner = self.spawner(plan, environment)
        self.pods[spawner.pod_name] = spawner
        try:
            url = await spawner.launch(plan, tell or (lambda progress: None))
        except BaseException:
            await spawner.remove(now=True)
            del self.pods[spawner.pod_name]
            raise
        return spawner.pod_name, url

    def start(self, plan: Any, **secrets: str) -> Inside:
        name, url = self.call(self._start(plan, secrets))
        self.addresses[name] = url.removeprefix("http://")
        return Inside(name, self._forward(name))

    def _forward(self, name: str) -> int:
        """A port here that leads to the probe, past the policies; works with every cluster."""
        words = self.kube.words("port-forward", "-n", f"{NAMESPACE}-users", f"pod/{name}", ":8888")
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        self.forwards[name] = process
        assert process.stdout is not None
        found = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
        assert found, "kubectl port-forward said nothing"
        return int(found[1])

    def unreachable(self, neighbour: Inside) -> list[tuple[str, int]]:
        """What another server must not reach: a neighbour, the cluster's API, nodes, metadata, DNS."""
        host, _, port = self.addresses[neighbour.handle].rpartition(":")
        node = self.kube.node_address()
        api = json.loads(self.kube.kubectl("get", "svc", "kubernetes", "-o", "json"))
        return [
            (host, int(port)),
            (api["spec"]["clusterIP"], 443),
            (self.hub_address, 8081),
            (self.hub_address, 8082),
            (node, 10250),
            (node, 6443),
            ("169.254.169.254", 80),
            (self.name_server, 53),
        ]

    @contextmanager
    def without_policies(self) -> Iterator[None]:
        """The same servers for a moment without the policies of the network."""
        for space in (NAMESPACE, f"{NAMESPACE}-users"):
            self.kube.kubectl("delete", "networkpolicy", "--all", "-n", space)
        try:
            yield
        finally:
            self.kube.apply(self.policies)

    def poll(self, handle: str) -> Any:
        spawner = self.pods[handle]
        return self.call(spawner.look(spawner.mem_limit))

    # --- the pod beside an instructor's -------------------------------------------------------

    def beside(self, handle: str, seconds: float = 90) -> str:
        """Where the pod for grading of an instructor's server is, once it is there."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            found = self.call(self.pods[handle].beside())
            assert not found.error, found.error
            if found.address:
                return str(found.address)
            time.sleep(0.3)
        raise AssertionError(f"no pod for grading: {found.wait}")

    def grading_pods(self, handle: str) -> list[dict[str, Any]]:
        """Those beside a server, also while they end."""
        space = f"{NAMESPACE}-users"
        owner = self.kube.get("pod", handle, space)
        found = self.kube.find("pod", space, "component=courseyard-grading")
        return [
            pod
            for pod in found
            if owner is None
            or pod["metadata"]["ownerReferences"][0]["uid"] == owner["metadata"]["uid"]
        ]

    def key(self, handle: str) -> str:
        """What its runner asks for."""
        told: str = self.pods[handle].environment["COURSEYARD_GRADING"]
        return told.removeprefix("hub:")

    def stop(self, handle: str, *, now: bool = False) -> None:
        spawner = self.pods.pop(handle, None)
        if spawner is not None:
            self.forwards.pop(handle).kill()
            self.call(spawner.remove(now=now))

    def wait_for(self, handle: str, seconds: float = 30) -> Any:
        """How the server ended, once it has."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            found = self.poll(handle)
            if found is not None:
                return found
            time.sleep(0.2)
        raise AssertionError(f"{handle} still runs")
