"""The pods of the example university: course file → plan → pod, compared with those in the repository.

The pod is the one that KubeSpawner makes; each is held against the schemas of the oldest and the
newest Kubernetes that are supported.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import kubernetes_validate
import pytest
import yaml
from kubernetes_asyncio.client import ApiClient, Configuration

from courseyard.backends.kubernetes import grading, manifests
from courseyard.backends.kubernetes.spawner import PodSpawner
from courseyard.settings import GRADING_UIDS
from tests.golden.test_golden_plans import HERE, PLANS, UPDATE, example, plan

OLDEST, NEWEST = "1.28", "1.37"
#: The long ones say in the golden file what they are; the tests below look into them.
KEY = "k" * 64
FILES = {f"{manifests.ANNOTATION}{name}": name for name in manifests.FILES}


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kubespawner.spawner.load_config", lambda **_: None)
    monkeypatch.setattr("kubespawner.spawner.shared_client", lambda *_: None)
    monkeypatch.setattr("secrets.token_hex", lambda _: KEY)


#: Those that grade.
GRADING = [name for name in PLANS if plan(*name.split(".", 1)).grading is not None]


def spawner_of(name: str) -> PodSpawner:
    who, target = name.split(".", 1)
    found = plan(who, target)
    spawner = PodSpawner(_mock=True)
    spawner.user.name = who
    spawner.orm_spawner = SimpleNamespace(name=found.server_name, server=None)
    spawner.use(found, manifests.Cluster.of(example()[0]))
    spawner.pod_name = spawner._expand_user_properties("server-{user_server}")
    return spawner


async def pod_of(spawner: PodSpawner, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(PodSpawner, "get_env", lambda self: dict(self.environment))
    pod = await spawner.get_pod_manifest()
    async with ApiClient(Configuration()) as client:
        made: dict[str, Any] = client.sanitize_for_serialization(pod)
    return made


@pytest.mark.parametrize("name", PLANS)
async def test_pod(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pod = await pod_of(spawner_of(name), monkeypatch)
    for version in (OLDEST, NEWEST):
        kubernetes_validate.validate(pod, version, strict=True)
    notes = pod["metadata"]["annotations"]
    who, target = name.split(".", 1)
    assert json.loads(notes[f"{manifests.ANNOTATION}plan.json"]) == json.loads(
        plan(who, target).to_json()
    )
    compare(pod, f"{name}.yaml")


def compare(pod: dict[str, Any], name: str) -> None:
    """With the file of the repository, or write that."""
    notes = pod["metadata"]["annotations"]
    for key in FILES.keys() & notes:
        notes[key] = f"({FILES[key]})"
    for key in [key for key in notes if key.endswith("-version")]:
        del notes[key]  # of JupyterHub and KubeSpawner
    text = yaml.safe_dump(pod, sort_keys=True, allow_unicode=True, width=100)
    file = HERE / "pods" / name.replace("/", "-")
    if UPDATE:
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert file.exists(), f"{file.name} is missing: see tests/golden/README.md"
    assert text == file.read_text(encoding="utf-8")


async def beside_of(name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The pod for grading beside an instructor's."""
    server = await pod_of(spawner_of(name), monkeypatch)
    server["metadata"]["uid"] = "0a1b2c3d"
    return grading.pod(server, f"{server['metadata']['name']}-grading-0a1b2c")


@pytest.mark.parametrize("name", GRADING)
async def test_pod_for_grading(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pod = await beside_of(name, monkeypatch)
    for version in (OLDEST, NEWEST):
        kubernetes_validate.validate(pod, version, strict=True)
    assert KEY not in json.dumps(pod), "the hash of the key alone"
    compare(pod, f"{name}.grading.yaml")


@pytest.mark.parametrize("name", GRADING)
async def test_what_grades_is_the_plans(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A student's groups, read-only folders that students may read, and no way out."""
    wanted = plan(*name.split(".", 1)).grading
    assert wanted is not None
    pod = await beside_of(name, monkeypatch)
    spec = pod["spec"]
    rights = spec["securityContext"]
    assert rights["runAsUser"] in GRADING_UIDS
    assert rights["runAsGroup"] == wanted.identity.gid
    assert rights["supplementalGroups"] == sorted(g.gid for g in wanted.identity.supplementary)
    (container,) = spec["containers"]
    mounts = [m for m in container["volumeMounts"] if m["name"] == "storage"]
    assert {(m["mountPath"], m["subPath"]) for m in mounts} == {
        (m.target, m.source) for m in wanted.mounts
    }
    assert all(m["readOnly"] for m in mounts)
    assert spec["dnsConfig"] == {"nameservers": ["127.0.0.1"]}
    assert "courseyard/file-plan.json" not in pod["metadata"]["annotations"]


async def test_only_an_instructors_pod_of_this_version_has_a_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    student = await pod_of(spawner_of("omar.stats"), monkeypatch)
    teacher = await pod_of(spawner_of(GRADING[0]), monkeypatch)
    assert [grading.key_of(student), grading.key_of(teacher)] == ["", KEY]
    (way,) = (e for e in teacher["spec"]["containers"][0]["env"] if e["value"].endswith(KEY))
    way["value"] = "tcp:127.0.0.1:8082"  # its runner is a second container
    assert grading.key_of(teacher) == ""


def test_no_pod_is_left_over() -> None:
    wanted = {HERE / "pods" / f"{name.replace('/', '-')}.yaml" for name in PLANS}
    wanted |= {HERE / "pods" / f"{name.replace('/', '-')}.grading.yaml" for name in GRADING}
    assert set((HERE / "pods").glob("*")) == wanted


@pytest.mark.parametrize("name", PLANS)
def test_every_line_of_the_plan_is_in_the_pod(name: str) -> None:
    who, target = name.split(".", 1)
    wanted = plan(who, target)
    made = manifests.traits(wanted, manifests.Cluster.of(example()[0]))
    mounts = {m["mountPath"]: m for m in made["volume_mounts"] if m["name"] == "storage"}
    assert {m.target: (m.source, not m.writable) for m in wanted.mounts} == {
        path: (m["subPath"], m["readOnly"]) for path, m in mounts.items()
    }
    assert made["uid"] == wanted.identity.uid
    assert made["gid"] == wanted.identity.gid
    assert set(made["supplemental_gids"]) | {wanted.identity.gid} == {
        wanted.identity.gid,
        *(g.gid for g in wanted.identity.supplementary),
    }
    assert wanted.environment.items() <= made["environment"].items()
    assert wanted.labels.items() <= made["extra_labels"].items()
    assert made["extra_resource_limits"]["memory"] == str(wanted.limits.mem_limit)
    assert wanted.limits.extra_limits.items() <= made["extra_resource_limits"].items()
    assert wanted.limits.extra_guarantees.items() <= made["extra_resource_guarantees"].items()
    assert wanted.kubernetes.node_selector.items() <= made["node_selector"].items()
    assert all(t in made["tolerations"] for t in wanted.kubernetes.tolerations)
    assert made["image"] == wanted.image.reference
    assert made["fs_gid"] is None


def test_nothing_of_an_earlier_plan_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trap 6: a spawner kept settings of its last start; a GPU of course A reached course B."""
    spawner = spawner_of("maija.scip-gpu")
    before = {n: getattr(spawner, n) for n in spawner.trait_names(config=True)}
    cluster = manifests.Cluster.of(example()[0])
    spawner.use(plan("omar", "stats"), cluster)
    fresh = spawner_of("omar.stats")
    for name in before:
        if callable(before[name]) or name == "ssl_alt_names":
            continue  # methods of the spawner itself, and what follows from its name
        assert getattr(spawner, name) == getattr(fresh, name), name
    assert set(manifests.traits(plan("omar", "stats"), cluster)) == set(
        manifests.traits(plan("maija", "scip-gpu"), cluster)
    )


#: Traits of KubeSpawner that say what a pod is and that no plan sets: the cluster's access, names,
#: and claims of a user's own, which Courseyard does not have.
NOT_OF_A_PLAN = frozenset(
    (
        *("pod_name_template", "dns_name_template", "pvc_name_template", "secret_name_template"),
        *("user_namespace_template", "user_namespace_labels", "user_namespace_annotations"),
        *("secret_mount_path", "pod_connect_ip", "get_pod_url", "handle_legacy_names"),
        *("delete_pvc", "remember_pvc_name", "storage_capacity", "storage_class"),
        *("storage_access_modes", "storage_extra_annotations", "storage_extra_labels"),
        *("storage_selector", "profile_form_template", "additional_profile_form_template_paths"),
        *("delete_grace_period", "events_enabled", "slug_scheme", "slow_spawn_message"),
        *("slow_spawn_message_threshold", "slow_spawn_message_frequency"),
        *("hub_connect_ip", "hub_connect_port"),
    )
)


def test_every_setting_of_kubespawner_is_set_or_known() -> None:
    """A new version of KubeSpawner with a new setting must be looked at."""
    from jupyterhub.spawner import Spawner
    from kubespawner import KubeSpawner

    own = set(KubeSpawner.class_own_traits(config=True))
    made = set(manifests.traits(plan("omar", "stats"), manifests.Cluster.of(example()[0])))
    left = {n for n in own - made - NOT_OF_A_PLAN if not n.startswith("k8s_api_")}
    left -= set(Spawner.class_own_traits(config=True))
    deprecated = {n for n in left if n.startswith(("singleuser_", "user_storage_"))}
    assert left - deprecated == set()


async def test_a_hostile_name_is_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """KubeSpawner fills ``{…}`` in, Kubernetes ``$(…)``: neither happens to what a plan holds."""
    spawner = spawner_of("omar.stats")
    cluster = manifests.Cluster.of(example()[0])
    evil = "{user.name} {unescaped_username} $(JUPYTERHUB_API_TOKEN) {"
    wanted = plan("omar", "stats").model_copy(update={"title": evil, "environment": {"EVIL": evil}})
    spawner.use(wanted, cluster)
    pod = await pod_of(spawner, monkeypatch)
    assert pod["metadata"]["annotations"]["courseyard/title"] == evil
    monkeypatch.undo()
    monkeypatch.setattr("kubespawner.KubeSpawner.get_env", lambda self: dict(self.environment))
    assert spawner.get_env()["EVIL"].replace("$$", "$") == evil
    assert "$$(" in spawner.get_env()["EVIL"]


@pytest.mark.parametrize("name", PLANS)
async def test_pod_fits_pod_security_restricted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trap 8: servers started as root.

    kubernetes.io/docs/concepts/security/pod-security-standards, `restricted`, line by line.
    """
    restricted((await pod_of(spawner_of(name), monkeypatch))["spec"])
    if name in GRADING:
        restricted((await beside_of(name, monkeypatch))["spec"])


def restricted(spec: dict[str, Any]) -> None:
    (container,) = spec["containers"]
    assert "initContainers" not in spec
    rights = container["securityContext"]
    assert not any(spec.get(k) for k in ("hostNetwork", "hostPID", "hostIPC"))
    assert rights.get("privileged", False) is False
    assert rights["allowPrivilegeEscalation"] is False
    assert rights["capabilities"] == {"drop": ["ALL"]}
    assert rights["readOnlyRootFilesystem"] is True
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert "fsGroup" not in spec["securityContext"]
    assert spec["automountServiceAccountToken"] is False
    assert {next(iter(set(v) - {"name"})) for v in spec["volumes"]} <= {
        "persistentVolumeClaim", "downwardAPI", "emptyDir",
    }  # fmt: skip


def test_registry_stands_before_names_without_a_host() -> None:
    full = manifests.full_reference
    assert full("python:1", "") == "python:1"
    assert full("python:1", "reg.example.org/x/") == "reg.example.org/x/python:1"
    assert full("lab/python:1", "reg.example.org") == "reg.example.org/lab/python:1"
    assert full("quay.io/a/b:1", "reg.example.org") == "quay.io/a/b:1"
    assert full("localhost/a:1", "reg.example.org") == "localhost/a:1"
    assert full("host:5000/a:1", "reg.example.org") == "host:5000/a:1"


def test_golden_pods_hold_no_secret() -> None:
    for file in (HERE / "pods").glob("*.yaml"):
        assert "TOKEN" not in file.read_text(encoding="utf-8")
        assert Path(file).stat().st_size < 20_000
