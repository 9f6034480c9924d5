"""A whole site in the cluster: what ``courseyard init --kubernetes`` writes and ``kubectl apply -k`` starts."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.rig import Kube
from tests.hub.sites import Reached

#: Courses that cannot run, each for another reason.
ODD_COURSES = {
    "noimage": "name: No Image\nimage: nowhere/missing:1\n"
    "kubespawner_override: {image_pull_policy: Never}\n",
    "huge": "name: Huge\n"
    "kubespawner_override: {mem_limit: 900G, mem_guarantee: 900G, start_timeout: 8s}\n",
    "hasty": "name: Hasty\nkubespawner_override: {start_timeout: 8s}\n",
    "hungry": "name: Hungry\nkubespawner_override: {mem_limit: 64M, mem_guarantee: 64M}\n",
    "small": "name: Small\nkubespawner_override: {mem_limit: 300M, mem_guarantee: 200M}\n",
    "gpu": "name: With a GPU\nimage: DEFAULT\nkubespawner_override:\n"
    "  {extra_resource_limits: {nvidia.com/gpu: '1'}, start_timeout: 8s}\n",
}


class Deployed(Reached):
    """One site; its storage is a folder of this machine that all nodes see."""

    def __init__(self, kube: Kube, namespace: str, node_port: int) -> None:
        self.kube = kube
        self.namespace = namespace
        self.users = f"{namespace}-users"
        self.node_port = node_port
        self.folder = Path(tempfile.mkdtemp(prefix=f"cy-{namespace}-", dir="/tmp")) / "site"
        self.storage = Path(f"/srv/{namespace}-storage")
        self.base = f"http://{kube.node_address()}:{node_port}"

    def make(self) -> None:
        """The files of the site."""
        words = [sys.executable, "-m", "courseyard.cli", "init", str(self.folder), "--kubernetes"]
        more = ["--namespace", self.namespace]
        subprocess.run([*words, *more], check=True, stdout=subprocess.DEVNULL)
        self.change("kubernetes/overlays/one-node/kustomization.yaml", "30080", str(self.node_port))
        self.change("courseyard.yaml", "  site_label:", "  node_lost_after: 5s\n  site_label:")
        for slug, text in ODD_COURSES.items():
            (self.folder / "courses" / f"{slug}.yaml").write_text(text)
            first = "      - courses/algo2025.yaml\n"
            self.change("kustomization.yaml", first, f"{first}      - courses/{slug}.yaml\n")

    @property
    def passwords(self) -> dict[str, str]:
        found: dict[str, str] = yaml.safe_load((self.folder / "passwords.yaml").read_text())
        return found

    def change(self, file: str, old: str, new: str) -> None:
        """Change a file of the site; ``apply`` makes it so."""
        path = self.folder / file
        text = path.read_text()
        assert old in text, f"{old!r} is not in {file}"
        path.write_text(text.replace(old, new))

    def apply(self) -> None:
        self.kube.kubectl("apply", "-k", str(self.folder))

    def up(self) -> None:
        """Start it as its documentation says, and put the first files of its courses there."""
        shutil.rmtree(self.storage, ignore_errors=True)
        self.apply()
        self.ready()
        self.agent("storage", "apply", "/srv/courseyard")
        self.seed()

    def ready(self, seconds: int = 180) -> None:
        for name in ("hub", "proxy"):
            self.kube.kubectl(
                "rollout",
                "status",
                f"deployment/{name}",
                "-n",
                self.namespace,
                f"--timeout={seconds}s",
            )

    def seed(self) -> None:
        from courseyard.cli.sites import as_written
        from courseyard.images.catalog import load_catalog
        from courseyard.registry.watch import Registry
        from courseyard.sitefile import load_site
        from courseyard.storage.seed import seed

        site = as_written(load_site(self.folder))
        for course in Registry(site, load_catalog(site)).refresh().courses.values():
            seed(self.folder, self.storage, course)

    def agent(self, *words: str) -> str:
        """A ``courseyard`` command in the agent's container."""
        program = "/opt/courseyard/venv/bin/courseyard"
        return self.kube.kubectl(
            "exec", "-n", self.namespace, "deploy/hub", "-c", "agent", "--", program, *words
        )

    def pods(self, namespace: str = "", **labels: str) -> list[dict[str, Any]]:
        """Pods of people's servers by their labels, or of another namespace."""
        if not namespace:
            labels = {"component": "courseyard-server", **labels}
        words = ["get", "pods", "-n", namespace or self.users, "-o", "json"]
        if labels:
            words += ["-l", ",".join(f"{key}={value}" for key, value in labels.items())]
        found: list[dict[str, Any]] = json.loads(self.kube.kubectl(*words))["items"]
        return found

    def servers(self, username: str) -> list[dict[str, Any]]:
        return [
            pod
            for pod in self.pods()
            if pod["metadata"].get("annotations", {}).get("courseyard/username") == username
        ]

    def logs(self, container: str = "hub", lines: int = 200) -> str:
        words = ("logs", "-n", self.namespace, "deploy/hub", "-c", container, f"--tail={lines}")
        return self.kube.kubectl(*words)

    def wait(self, what: Any, seconds: float = 60, why: str = "") -> Any:
        """What ``what()`` gives once it is true."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            found = what()
            if found:
                return found
            time.sleep(0.3)
        raise AssertionError(f"not in {seconds} s: {why or what}")

    def lose(self) -> None:
        """All of it in the cluster but the volumes of its files; nobody is given time to end."""
        kubectl, names = self.kube.kubectl, (self.users, self.namespace)
        kubectl("delete", "ns", *names, "--ignore-not-found", "--wait=false")
        for name in names:  # nothing new is made in a namespace that goes
            kubectl("delete", "pods", "--all", "-n", name, "--grace-period=1", "--wait=false")
        kubectl("delete", "ns", *names, "--ignore-not-found", "--timeout=120s")

    def down(self) -> None:
        """Take all of it away, also what has no namespace."""
        self.lose()
        for name in (f"{self.namespace}-storage", f"{self.users}-storage"):
            self.kube.kubectl("delete", "pv", name, "--ignore-not-found", "--wait=false")
        shutil.rmtree(self.storage, ignore_errors=True)
        shutil.rmtree(self.folder.parent, ignore_errors=True)
