"""What is checked in an image, and under which rights a pod does it."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from typer.testing import CliRunner

from courseyard.cli import init
from courseyard.cli.app import app
from courseyard.cli.imagechecks import chosen
from courseyard.cli.sites import open_site
from courseyard.errors import ImageError
from courseyard.imagecheck import job, pod
from courseyard.imagecheck.inside.courses import first_wrong
from courseyard.images.catalog import Release
from courseyard.plan.build import Known
from courseyard.settings import KubernetesSettings, Site

UNIVERSITY = Path(__file__).parents[3] / "examples" / "university"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ignored = shutil.ignore_patterns("state", "storage", "python-2026-08-15")
    return Path(shutil.copytree(UNIVERSITY, tmp_path / "site", ignore=ignored))


def known_of(folder: Path) -> tuple[Site, Known]:
    found = open_site(folder)
    return found.site, Known(found.courses, found.catalog)


def job_of(folder: Path, family: str = "DEFAULT") -> tuple[Site, job.Job]:
    site, known = known_of(folder)
    return site, job.make_job(site, known, known.catalog.families[family][-1], NOW)


def kit_of(folder: Path, target: Path) -> dict[str, Any]:
    target.mkdir()
    job.write_kit(target, *job_of(folder))
    made: dict[str, Any] = json.loads((target / "job.json").read_text())
    return made


def test_courses_that_get_the_image(folder: Path) -> None:
    """Archived ones do not; one whose instructors alone get it does."""
    assert [course.slug for course in job_of(folder)[1].courses] == [
        "algo2026", "ml2027", "scip", "stats",
    ]  # fmt: skip
    assert [course.slug for course in job_of(folder, "GPU")[1].courses] == ["scip-gpu"]
    file = folder / "courses" / "stats.yaml"
    file.write_text(file.read_text() + "image: [DEFAULT, 2025-12-31]\nimage_instructor: DEFAULT\n")
    assert "stats" in [course.slug for course in job_of(folder)[1].courses]
    file.write_text(file.read_text().replace("image_instructor: DEFAULT\n", ""))
    assert "stats" not in [course.slug for course in job_of(folder)[1].courses]


def test_the_kit_holds_notebooks_and_smoke_tests(folder: Path, tmp_path: Path) -> None:
    files = folder / "course" / "algo2026" / "files"
    for part in ("submitted/omar/week1", "release/week1", ".ipynb_checkpoints"):
        (files / part).mkdir(parents=True)
        shutil.copyfile(files / "source/week1/sorting.ipynb", files / part / "sorting.ipynb")
    made = kit_of(folder, tmp_path / "kit")
    by_slug = {course["slug"]: course for course in made["courses"]}
    assert by_slug["algo2026"]["notebooks"] == [
        "files/release/week1/sorting.ipynb",
        "files/source/week1/sorting.ipynb",
        "files/source/week2/graphs.ipynb",
        "files/source/week2/paths.ipynb",
    ]
    assert by_slug["algo2026"]["smoke"] == ["smoke/plots.py"]
    assert by_slug["stats"]["notebooks"] == []
    assert (tmp_path / "kit/courses/algo2026/files/source/week2/trains.csv").is_file()
    assert (tmp_path / "kit/courses/scip/data/temperature.csv").is_file()
    assert (tmp_path / "kit").stat().st_mode & 0o777 == 0o755


def test_a_link_in_the_sites_folder_leads_nowhere(folder: Path, tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir()
    (private / "secret.ipynb").write_text("{}")
    course = folder / "course" / "algo2026"
    (course / "files" / "there").symlink_to(private)
    (course / "files" / "source" / "more.ipynb").symlink_to(private / "secret.ipynb")
    (course / "smoke" / "more.py").symlink_to("/etc/passwd")
    kit_of(folder, tmp_path / "kit")
    names = {path.name for path in (tmp_path / "kit").rglob("*")}
    assert not names & {"there", "more.ipynb", "more.py", "secret.ipynb"}


def test_the_configuration_is_that_of_a_courses_servers(folder: Path, tmp_path: Path) -> None:
    plans = kit_of(folder, tmp_path / "kit")["plans"]
    student, instructor = plans["student"]["nbgrader"], plans["instructor"]["nbgrader"]
    assert student["config"]["Exchange"]["root"] == "/srv/nbgrader/exchange"
    assert instructor["fixed"]["ExchangeFactory"]["collect"].startswith("courseyard_nbgrader.")
    assert (student["formgrader"], instructor["formgrader"]) == (False, True)
    for plan in plans.values():
        assert plan["network"] == "none"
        assert plan["environment"]["EXAMPLE_UNIVERSITY_HUB"] == "1"
        assert {mount["source"] for mount in plan["mounts"]} == set(job.SCRATCH)


def test_packages_are_those_of_the_requirements_file() -> None:
    found = job.packages(UNIVERSITY / "images" / "python-2026-08-15")
    assert {*job.NEEDED, "numpy", "pandas", "matplotlib", "jupyter-server-mathjax"} == set(found)
    assert found["jupyterhub"] == "jupyterhub.singleuser.extension"
    assert set(job.packages(None)) == set(job.NEEDED)


def cell(error: str | None = None, tags: tuple[str, ...] = (), **about: bool) -> dict[str, Any]:
    return {"error": error, "nbgrader": about, "tags": list(tags)}


@pytest.mark.parametrize(
    ("cells", "unsolved", "wrong"),
    [
        ([cell(), cell()], False, None),
        ([cell(), cell("E")], False, 1),
        ([cell("E", tags=("raises-exception",)), cell()], False, None),
        ([cell("E", solution=True)], False, 0),
        ([cell("E", grade=True)], False, 0),
        ([cell("E", solution=True), cell("E")], True, None),
        ([cell("E"), cell("E", solution=True)], True, 0),
        ([cell(), cell("E", grade=True), cell("E")], True, None),
    ],
)
def test_cells_that_are_meant_to_fail(
    cells: list[dict[str, Any]], unsolved: bool, wrong: int | None
) -> None:
    assert first_wrong(cells, unsolved=unsolved) == wrong


def test_which_images_a_name_means(folder: Path) -> None:
    site, known = known_of(folder)
    cluster = site.model_copy(update={"backend": "kubernetes"})

    def days(site: Site, name: str | None) -> list[tuple[str, str]]:
        found: list[Release] = chosen(site, known.catalog, name)
        return [(release.family, str(release.released)) for release in found]

    newest, oldest = ("DEFAULT", "2026-08-15"), ("DEFAULT", "2025-08-20")
    assert days(cluster, None) == [oldest, newest, ("GPU", "2026-06-01")]
    assert days(cluster, "DEFAULT") == [newest]
    assert days(cluster, "DEFAULT:2025-08-20") == [oldest]
    assert days(cluster, "courseyard-python:2025-08-20") == [oldest]
    (folder / "images" / "python-2026-08-15").mkdir()
    assert days(site, None) == [newest]
    assert days(site, "DEFAULT") == [newest]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("DEFAULT:2024-01-01", "it has 2025-08-20, 2026-08-15"),
        ("DEFALT", "DEFAULT"),
        ("elsewhere:1", "lists no image"),
        ("GPU", "without a folder"),
        ("DEFAULT", "images build"),
        (None, "images build"),
    ],
)
def test_what_cannot_be_run_is_said(folder: Path, name: str | None, sentence: str) -> None:
    site, known = known_of(folder)
    with pytest.raises(ImageError) as caught:
        chosen(site, known.catalog, name)
    assert sentence in str(caught.value)


def test_the_pod_fits_restricted_and_mounts_no_storage(folder: Path) -> None:
    site, made = job_of(folder)
    settings = KubernetesSettings(registry="reg.example.org", image_pull_secrets=("pull",))
    found = pod.manifest(site.model_copy(update={"kubernetes": settings}), made, "check")
    for version in ("1.28", "1.37"):
        kubernetes_validate.validate(found, version, strict=True)
    spec = found["spec"]
    (container,) = spec["containers"]
    assert container["image"] == "reg.example.org/courseyard-python:2026-08-15"
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] >= 1000
    assert spec["automountServiceAccountToken"] is False
    assert spec["imagePullSecrets"] == [{"name": "pull"}]
    assert not [volume for volume in spec["volumes"] if "persistentVolumeClaim" in volume]
    assert {mount["name"] for mount in container["volumeMounts"]} <= {
        volume["name"] for volume in spec["volumes"]
    }
    # The policies for servers do not hold for it, and the hub does not tidy it away.
    assert found["metadata"]["labels"] == {"app": "courseyard", "component": "image-check"}


def test_without_kubectl_a_cluster_cannot_be_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    init.make_site(tmp_path / "site", namespace="physics")
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    done = CliRunner().invoke(app, ["images", "check", "DEFAULT", str(tmp_path / "site"), "--json"])
    assert done.exit_code == 1
    (row,) = json.loads(done.stdout)
    assert (row["test"], row["state"]) == ("the image runs", "failed")
    assert "no kubectl here" in row["said"]


def test_what_kubectl_refuses_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    init.make_site(tmp_path / "site", namespace="physics")
    program = tmp_path / "bin" / "kubectl"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'Error from server (Forbidden): pods' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    done = CliRunner().invoke(app, ["images", "check", "GPU", str(tmp_path / "site"), "--json"])
    assert done.exit_code == 1
    (row,) = json.loads(done.stdout)
    assert "Forbidden" in row["said"] and "right to make" in row["said"]
