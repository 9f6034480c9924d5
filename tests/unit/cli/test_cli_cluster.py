"""``courseyard init --kubernetes``: a site that a cluster starts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from courseyard.cli import init
from courseyard.cli.check import problems_of
from courseyard.cli.sites import open_site
from courseyard.errors import SettingsError
from courseyard.sitefile import load_site


@pytest.fixture
def site(tmp_path: Path) -> Path:
    init.make_site(tmp_path / "site", namespace="physics")
    return tmp_path / "site"


def test_the_site_file_is_one_of_a_cluster(site: Path) -> None:
    loaded = load_site(site)
    assert loaded.backend == "kubernetes"
    assert loaded.kubernetes.namespace == "physics"
    assert loaded.kubernetes.users_namespace == "physics-users"
    assert loaded.kubernetes.site_label == "physics"


def test_check_and_plan_look_at_the_files_beside_it(
    site: Path,
) -> None:
    assert not [problem for problem in problems_of(site) if problem.is_error]
    known = open_site(site)
    assert "algo2026" in known.courses
    (site / "courses" / "algo2026.yaml").write_text("nam: X\n")
    assert any("unknown key" in problem.message for problem in problems_of(site))


def test_every_course_is_in_the_map(site: Path) -> None:
    made = yaml.safe_load((site / "kustomization.yaml").read_text())
    maps = {entry["name"]: entry["files"] for entry in made["configMapGenerator"]}
    there = sorted(f"courses/{path.name}" for path in (site / "courses").iterdir())
    assert maps["courseyard-courses"] == there
    for name in maps["courseyard-site"]:
        assert (site / name).is_file()


def test_two_sites_share_no_name(site: Path, tmp_path: Path) -> None:
    """Namespaces, and what has no namespace, are the site's own."""
    init.make_site(tmp_path / "other", namespace="chemistry")

    def names(folder: Path) -> set[tuple[str, str, str]]:
        found = set()
        for file in (folder / "kubernetes").rglob("*.yaml"):
            space = ""
            if (file.parent / "kustomization.yaml").exists():
                about = yaml.safe_load((file.parent / "kustomization.yaml").read_text())
                space = about.get("namespace", "")
            for item in yaml.safe_load_all(file.read_text()):
                if item.get("kind") not in ("Kustomization", None):
                    own = item["metadata"].get("namespace", space)
                    free = item["kind"] in ("Namespace", "PersistentVolume")
                    found.add((item["kind"], "" if free else own, item["metadata"]["name"]))
        return found

    assert names(site) & names(tmp_path / "other") == set()
    hosts = r"path: (/srv/\S+-storage)"
    storage = site / "kubernetes" / "overlays" / "one-node" / "storage.yaml"
    assert set(re.findall(hosts, storage.read_text())) == {"/srv/physics-storage"}


def test_secrets_are_private_and_its_own(site: Path, tmp_path: Path) -> None:
    token = site / "secrets" / "routes-token"
    assert token.stat().st_mode & 0o777 == 0o600
    assert token.parent.stat().st_mode & 0o777 == 0o700
    assert (site / "passwords.yaml").stat().st_mode & 0o777 == 0o600
    assert "secrets/" in (site / ".gitignore").read_text()
    init.make_site(tmp_path / "other", namespace="chemistry")
    assert (tmp_path / "other" / "secrets" / "routes-token").read_text() != token.read_text()


@pytest.mark.parametrize("name", ["", "Physics", "a b", "x" * 60, "-x", "../etc"])
def test_a_name_that_no_cluster_takes(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        init.make_site(tmp_path / "site", namespace=name or " ")
    assert caught.value.next_step
    assert not (tmp_path / "site").exists()


def test_an_empty_site(tmp_path: Path) -> None:
    init.make_site(tmp_path / "site", empty=True, namespace="physics")
    assert load_site(tmp_path / "site").people.administrators == ()
    made = yaml.safe_load((tmp_path / "site" / "kustomization.yaml").read_text())
    (courses,) = [m for m in made["configMapGenerator"] if m["name"] == "courseyard-courses"]
    assert not courses.get("files")
    for entry in made["secretGenerator"][0]["files"]:
        assert (tmp_path / "site" / entry.rpartition("=")[2]).is_file(), entry


def test_check_tells_when_the_proxies_trust_others(site: Path) -> None:
    """The setting and Traefik's argument stand in two files."""

    def said() -> list[str]:
        return [p.message for p in problems_of(site) if p.file.name == "kustomization.yaml"]

    site_file, manifest = site / "courseyard.yaml", site / "kustomization.yaml"
    text, patch = manifest.read_text(), manifest.read_text()
    for line in re.findall(r"(?m)^# (?:patches:|  .*)$", text)[-6:]:
        patch = patch.replace(line, line.removeprefix("# "))
    assert yaml.safe_load(patch)["patches"][0]["target"] == {"kind": "Deployment", "name": "proxy"}
    assert said() == []
    manifest.write_text(patch)
    assert "the proxies trust 192.0.2.10/32" in said()[0]
    site_file.write_text(re.sub("# (proxy:|  trusted_proxies)", r"\1", site_file.read_text()))
    assert load_site(site).proxy.trusted_proxies == ("192.0.2.10/32",)
    assert said() == []
    manifest.write_text(text)
    assert "must be --entrypoints.web.forwardedheaders.trustedips=192.0.2.10/32" in said()[0]
    manifest.write_text(patch.replace("192.0.2.10/32", "0.0.0.0/0"))
    assert "cannot be read" in said()[0]


def said_of(site: Path, name: str) -> list[str]:
    return [str(p).partition(name)[2] for p in problems_of(site) if p.file.name == name]


def test_check_tells_of_a_course_without_a_line_and_a_line_without_a_course(site: Path) -> None:
    manifest = site / "kustomization.yaml"
    text = manifest.read_text()
    assert said_of(site, "kustomization.yaml") == []
    manifest.write_text(text.replace("      - courses/stats.yaml\n", ""))
    (found,) = said_of(site, "kustomization.yaml")
    assert "courses/stats.yaml has no line here" in found
    manifest.write_text(text)
    (site / "courses" / "stats.yaml").rename(site / "courses" / ".stats.yaml.swp.yaml")
    (found,) = said_of(site, "kustomization.yaml")
    number = text.splitlines().index("      - courses/stats.yaml") + 1
    assert found.startswith(f":{number}: ")
    assert "there is no file courses/stats.yaml" in found


def test_check_takes_a_course_from_elsewhere_under_a_name(site: Path) -> None:
    manifest = site / "kustomization.yaml"
    (site / "courses" / "stats.yaml").rename(site / "of-maths.yaml")
    line = "      - stats.yaml=of-maths.yaml\n"
    manifest.write_text(manifest.read_text().replace("      - courses/stats.yaml\n", line))
    assert said_of(site, "kustomization.yaml") == []


@pytest.mark.parametrize("token", [b"", b"short", b"0123456789abcdef" * 4 + b"\n"])
def test_check_tells_of_a_token_that_proxies_cannot_use(site: Path, token: bytes) -> None:
    assert said_of(site, "routes-token") == []
    (site / "secrets" / "routes-token").write_bytes(token)
    (found,) = said_of(site, "routes-token")
    assert "at least 32 letters and digits" in found


@pytest.mark.parametrize(
    ("file", "name", "key"),
    [
        ("kustomization.yaml", "physics", "namespace"),
        ("kubernetes/base/hub/kustomization.yaml", "physics", "namespace"),
        ("kubernetes/base/users/kustomization.yaml", "physics-users", "users_namespace"),
    ],
)
def test_check_tells_of_another_namespace(site: Path, file: str, name: str, key: str) -> None:
    path = site / file
    path.write_text(path.read_text().replace(f"namespace: {name}\n", "namespace: phisics\n"))
    found = [p for p in problems_of(site) if p.file == path]
    assert found
    assert all(p.is_error and p.line for p in found)
    assert f"is phisics, but `kubernetes.{key}` of courseyard.yaml is {name}" in found[0].message


@pytest.mark.parametrize(
    ("name", "said", "error"),
    [
        ("jupyterhub.auth.PAMAuthentikator", "nothing has the name", True),
        ("jupyterhub.spawner.Spawner", "is not an authenticator", True),
        ("of_nobody.Authenticator", "is not installed here; the hub's image must have it", False),
    ],
)
def test_check_tries_the_authenticator(site: Path, name: str, said: str, error: bool) -> None:
    file = site / "courseyard.yaml"
    file.write_text(
        re.sub(r"(?m)^  # authenticator: .*$", f"  authenticator: {name}", file.read_text())
    )
    assert load_site(site).hub.authenticator == name
    (found,) = [p for p in problems_of(site) if p.key == "hub.authenticator"]
    assert said in found.message
    assert found.is_error == error
    assert found.line > 1
