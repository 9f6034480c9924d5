"""``courseyard images prepull``: the DaemonSet follows images.yaml and what courses use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from typer.testing import CliRunner

from courseyard.cli import init, prepull
from courseyard.cli.app import app
from courseyard.cli.check import problems_of
from courseyard.cli.sites import open_site
from courseyard.errors import SettingsError

GPU = "courseyard-gpu:2026-06-01"
PYTHON = "courseyard-python:2026-08-15"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    init.make_site(tmp_path / "site", namespace="physics")
    return tmp_path / "site"


def written(site: Path) -> dict[str, Any]:
    made: dict[str, Any] = yaml.safe_load((site / prepull.FILE).read_text())
    return made


def images(site: Path) -> list[str]:
    return [c["image"] for c in written(site)["spec"]["template"]["spec"]["containers"]]


def change(site: Path, file: str, old: str, new: str) -> None:
    text = (site / file).read_text()
    assert old in text
    (site / file).write_text(text.replace(old, new))


def warnings(site: Path) -> list[str]:
    return [str(p) for p in problems_of(site) if p.file.name == "prepuller.yaml"]


def test_a_new_site_has_one_that_kubectl_applies(site: Path) -> None:
    made = written(site)
    for version in ("1.28", "1.37"):
        kubernetes_validate.validate(made, version, strict=True)
    assert made["metadata"]["namespace"] == "physics-users"
    listed = yaml.safe_load((site / "kustomization.yaml").read_text())["resources"]
    assert str(prepull.FILE) in listed
    assert (site / prepull.FILE).stat().st_mode & 0o777 == 0o644
    # What only an archived course uses is left out.
    assert images(site) == [PYTHON, GPU]
    assert warnings(site) == []


def test_it_fits_restricted_and_is_no_server(site: Path) -> None:
    pod = written(site)["spec"]["template"]
    spec = pod["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] >= 1000
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert "volumes" not in spec
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"] == {"cpu": "1m", "memory": "8Mi"}
    # No policy opens a network for it, and the hub does not tidy it away.
    assert pod["metadata"]["labels"] == {"app": "courseyard", "component": "prepuller"}


def test_no_image_waits_for_another(site: Path) -> None:
    """Init containers run in order, and a node that waits must not hold up the next one."""
    made = written(site)["spec"]
    assert "initContainers" not in made["template"]["spec"]
    assert made["updateStrategy"]["rollingUpdate"]["maxUnavailable"] == "100%"


def test_it_follows_registry_secrets_and_nodes(site: Path) -> None:
    more = (
        "  registry: reg.example.org/x\n  image_pull_secrets: [pull]\n"
        "  node_selector: {pool: teaching}\n"
        "  tolerations: [{key: teaching, operator: Exists, effect: NoSchedule}]\n  site_label:"
    )
    change(site, "courseyard.yaml", "  site_label:", more)
    assert len(warnings(site)) == 1
    done = CliRunner().invoke(app, ["images", "prepull", str(site)])
    assert done.exit_code == 0, done.output
    assert images(site) == [f"reg.example.org/x/{PYTHON}", f"reg.example.org/x/{GPU}"]
    spec = written(site)["spec"]["template"]["spec"]
    assert spec["imagePullSecrets"] == [{"name": "pull"}]
    assert spec["nodeSelector"] == {"pool": "teaching"}
    assert spec["tolerations"][0]["key"] == "teaching"
    assert warnings(site) == []


def test_a_new_release_is_missed_until_it_is_written(site: Path) -> None:
    old = "      2026-08-15:\n"
    new = "      2027-01-05:\n        reference: courseyard-python:2027-01-05\n"
    change(site, "images.yaml", old, new + old)
    (warning,) = warnings(site)
    assert "run `courseyard images prepull`" in warning
    prepull.write(open_site(site))
    # scip keeps the software of its first day.
    assert images(site) == [PYTHON, "courseyard-python:2027-01-05", GPU]
    assert warnings(site) == []


def test_a_course_that_is_over_brings_no_warning(site: Path) -> None:
    change(site, "courses/algo2025.yaml", "archive: true\n", "")
    assert len(warnings(site)) == 1
    prepull.write(open_site(site))
    assert images(site) == ["courseyard-python:2025-08-20", PYTHON, GPU]
    change(site, "courses/algo2025.yaml", "gid: 21004\n", "gid: 21004\narchive: true\n")
    assert warnings(site) == []
    # An image that is not even listed any more is another matter.
    text = (site / "images.yaml").read_text().replace("courseyard-python:2025-08-20", "other:1")
    (site / "images.yaml").write_text(text)
    assert len(warnings(site)) == 1


def test_a_family_may_stay_out(site: Path) -> None:
    change(site, "images.yaml", "    title: Python with CUDA\n", "    prepull: false\n")
    assert len(warnings(site)) == 1
    prepull.write(open_site(site))
    assert images(site) == [PYTHON]
    change(site, "images.yaml", "    title: Python\n", "    prepull: false\n")
    with pytest.raises(SettingsError, match="No image"):
        prepull.write(open_site(site))
    change(site, "images.yaml", "prepull: false", "prepull: never")
    with pytest.raises(SettingsError, match="true or false"):
        open_site(site)


def test_without_the_file_nothing_is_missed(site: Path) -> None:
    (site / prepull.FILE).unlink()
    assert warnings(site) == []


@pytest.mark.parametrize("text", ["", "[", "kind: Pod\n", "\x00"])
def test_a_file_of_somebody_else_is_told(site: Path, text: str) -> None:
    (site / prepull.FILE).write_text(text)
    assert len(warnings(site)) == 1


def test_a_site_on_one_machine_has_no_nodes(tmp_path: Path) -> None:
    init.make_site(tmp_path / "site")
    assert not (tmp_path / "site" / prepull.FILE).exists()
    done = CliRunner().invoke(app, ["images", "prepull", str(tmp_path / "site")])
    assert isinstance(done.exception, SettingsError)
