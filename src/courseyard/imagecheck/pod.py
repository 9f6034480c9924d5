"""Run the tests of an image of a cluster: in a pod as an ordinary user, without storage and network.

By kubectl, which an administrator has with the rights to make pods in the users' namespace. The pod
only waits; ``kubectl exec`` brings the kit in as a tar archive and the results out.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from courseyard.backends.kubernetes import manifests, plainpods, reasons
from courseyard.errors import CourseyardError, ImageError
from courseyard.imagecheck import results
from courseyard.imagecheck.job import CHECKER, COMMAND, KIT, SCRATCH, Job, write_kit
from courseyard.plan.model import ServerPlan
from courseyard.settings import Site

_SECONDS = 3600.0  # for all tests of one image
_PYTHON = ["/opt/image/bin/python", "-I"]
_WAIT = "import time; time.sleep(7200)"
#: Unpacks what comes on standard input, then does as in a sandbox.
_UNPACK = (
    "import sys, tarfile\n"
    "with tarfile.open(fileobj=sys.stdin.buffer, mode='r|') as kit: kit.extractall(sys.argv[1])\n"
)
_DISK = "2Gi"  # of the node: the kit and what the tests write
_PLACES = {"kit": KIT, **SCRATCH}
_ASK = 60.0  # seconds that kubectl may take for one question


def run(site: Site, job: Job, tell: results.Tell) -> list[results.Result]:
    """The results of all tests; the pod is gone afterwards.

    Raises:
        ImageError: kubectl does not work, the image cannot be fetched, or the tests do not end.
    """
    made = manifest(site, job, f"image-check-{secrets.token_hex(4)}")
    place = ("-n", made["metadata"]["namespace"])
    name = made["metadata"]["name"]
    with tempfile.TemporaryDirectory(prefix="courseyard-check-") as folder:
        archive = _archive(Path(folder), site, job)
        tell(0.0, f"Starting a pod of {job.release.reference}")
        _kubectl("create", "-f", "-", stdin=json.dumps(made))
        try:
            _wait_running(name, place, site, job)
            with archive.open("rb") as kit, _results(name, place, kit) as answer:
                return results.read(results.lines(answer, _SECONDS), tell)
        finally:
            with contextlib.suppress(ImageError):  # it ends by itself, too
                _kubectl("delete", "pod", name, *place, "--wait=false", "--grace-period=1")


def manifest(site: Site, job: Job, name: str) -> dict[str, Any]:
    """A pod under Pod Security `restricted`, with the limits and variables of a server."""
    settings = site.kubernetes
    plan = job.student.model_copy(update={"mounts": ()})
    storage_free = [
        volume
        for volume in manifests.volumes(plan, settings.storage_claim)
        if "persistentVolumeClaim" not in volume
    ]
    scratch = [{"name": key, "emptyDir": {"sizeLimit": _DISK}} for key in _PLACES]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": settings.users_namespace,
            "labels": plainpods.labels("image-check"),
            "annotations": manifests.annotations_of(plan),
        },
        "spec": {
            **plainpods.spec(settings, CHECKER.uid, CHECKER.gid),
            "restartPolicy": "Never",
            # Whatever becomes of us: it does not stay.
            "activeDeadlineSeconds": int(_SECONDS) + site.servers.start_timeout,
            "dnsPolicy": "None",
            "dnsConfig": {"nameservers": ["127.0.0.1"]},
            "containers": [_container(site, plan)],
            "volumes": [*storage_free, *scratch],
        },
    }


def _container(site: Site, plan: ServerPlan) -> dict[str, Any]:
    settings, limits = site.kubernetes, plan.limits
    return {
        "name": reasons.CONTAINER,
        "image": manifests.full_reference(plan.image.reference, settings.registry),
        "imagePullPolicy": settings.image_pull_policy,
        "command": [*_PYTHON, "-c", _WAIT],
        **plainpods.LAST_WORD,
        "env": [
            {"name": key, "value": value.replace("$(", "$$(")}
            for key, value in manifests.environment(plan).items()
        ],
        "securityContext": plainpods.rights(),
        "resources": {
            "requests": {
                "cpu": f"{round(limits.cpu_guarantee * 1000)}m",
                "memory": str(limits.mem_guarantee),
                "ephemeral-storage": "256Mi",
            },
            "limits": {
                "cpu": f"{round(limits.cpu_limit * 1000)}m",
                "memory": str(limits.mem_limit),
                "ephemeral-storage": _DISK,
            },
        },
        "volumeMounts": [
            *manifests.volume_mounts(plan),
            *({"name": key, "mountPath": path} for key, path in _PLACES.items()),
        ],
    }


def _archive(folder: Path, site: Site, job: Job) -> Path:
    kit, archive = folder / "kit", folder / "kit.tar"
    kit.mkdir()
    write_kit(kit, site, job)
    with tarfile.open(archive, "w") as tar:
        for item in sorted(kit.iterdir()):
            tar.add(item, item.name, filter=_nobodys)
    return archive


def _nobodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = CHECKER.uid
    member.uname = member.gname = ""
    return member


def _wait_running(name: str, place: tuple[str, ...], site: Site, job: Job) -> None:
    until = time.monotonic() + site.servers.start_timeout
    while True:
        pod = json.loads(_kubectl("get", "pod", name, *place, "-o", "json"))
        try:
            if reasons.step(pod, (), job.student).percent >= reasons.RUNS:
                return
            if time.monotonic() > until:
                raise reasons.too_late(pod, (), job.student, "The pod did not start in time.")
        except ImageError:
            raise
        except CourseyardError as error:
            raise ImageError(error.message, detail=error.detail) from error
        time.sleep(1)


@contextlib.contextmanager
def _results(name: str, place: tuple[str, ...], kit: IO[bytes]) -> Iterator[int]:
    """The descriptor at which the results arrive."""
    code = _UNPACK + COMMAND[1]
    words = ["exec", "-i", name, *place, "-c", reasons.CONTAINER, "--", *_PYTHON, "-c", code, KIT]
    with subprocess.Popen(
        [_program(), *words], stdin=kit, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.fileno()
        finally:
            process.kill()


def _kubectl(*words: str, stdin: str | None = None) -> str:
    try:
        done = subprocess.run(
            [_program(), *words], input=stdin, capture_output=True, text=True, timeout=_ASK
        )
    except subprocess.TimeoutExpired as error:
        raise ImageError("The cluster does not answer kubectl.", "Try again later.") from error
    if done.returncode:
        raise ImageError(
            "kubectl could not do what the check needs.",
            "You need the right to make, read and delete pods and to use `exec` in the namespace "
            "of the servers.",
            detail=done.stderr.strip(),
        )
    return done.stdout


def _program() -> str:
    found = shutil.which("kubectl")
    if found is None:
        raise ImageError(
            "The images of this site are checked in its cluster, and there is no kubectl here.",
            "Install kubectl, and let it know the cluster (KUBECONFIG).",
        )
    return found
