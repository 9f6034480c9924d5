"""Start, read and stop one server as the hub's service account; run by test_rights.py.

    python -m tests.cluster.rbac_probe KUBECONFIG NAMESPACE IMAGE POD

Prints ``ok``, or what did not work. A process of its own, since KubeSpawner keeps its watches for
as long as a process lives.
"""

from __future__ import annotations

import asyncio
import logging
import sys

from kubernetes_asyncio.config import kube_config

from courseyard.backends.kubernetes.manifests import Cluster
from courseyard.backends.kubernetes.spawner import PodSpawner
from courseyard.settings import KubernetesSettings
from tests.golden.test_golden_plans import plan


class Refused(logging.Handler):
    """What KubeSpawner's watches complain about."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "atch" in record.getMessage() and record.exc_info:
            self.said.append(record.getMessage())


class Probe(PodSpawner):
    """One line on standard output, then nothing."""

    def get_env(self) -> dict[str, str]:
        return {}


async def main(namespace: str, image: str, name: str) -> None:
    settings = KubernetesSettings(users_namespace=namespace)
    wanted = plan("omar", "stats").model_copy(update={"mounts": ()})
    spawner = Probe(_mock=True)
    spawner.use(wanted, Cluster("rights", settings))
    spawner.image, spawner.pod_name, spawner.start_timeout = image, name, 20
    spawner.volumes = [v for v in spawner.volumes if "persistentVolumeClaim" not in v]
    spawner.k8s_api_request_retry_timeout = 5
    hello = "import time; print('hello', flush=True); time.sleep(60)"
    spawner.extra_container_config = {"command": ["/opt/image/bin/python", "-c", hello]}
    refused = Refused()
    spawner.log.addHandler(refused)
    async with asyncio.timeout(40):
        seen = []
        await spawner.launch(wanted, seen.append)
        # Events come by a watch; the cluster has told something about every pod by now.
        for _ in range(20):
            if spawner.events and (text := await spawner.tail(5)):
                break
            await asyncio.sleep(0.25)
        assert spawner.events, "no events"
        assert "hello" in text, "no log"
        await spawner.remove(now=True)
        assert (await spawner.look(0)) is not None
    # A watch that is refused is replaced by asking again and again, until KubeSpawner gives up.
    assert not refused.said, refused.said
    print("ok")


if __name__ == "__main__":
    kube_config.KUBE_CONFIG_DEFAULT_LOCATION = sys.argv[1]
    asyncio.run(main(*sys.argv[2:]))
