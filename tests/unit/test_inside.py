"""Files that people of a site write, with links that lead in and out of their folder."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import yaml

from courseyard.cli import clusterproblems, passwords
from courseyard.cli.app import app
from courseyard.errors import SettingsError, StorageError
from courseyard.hub.home import looks
from courseyard.hub.passwords import read_passwords
from courseyard.images.catalog import ImageCatalog, load_catalog
from courseyard.inside import RefusedFileError, read_inside
from courseyard.people.static import load_people
from courseyard.registry.course import Course
from courseyard.registry.load import load_snapshot
from courseyard.registry.watch import Registry
from courseyard.settings import Branding, PeopleSettings, Site
from courseyard.sitefile import check_site
from courseyard.storage import layout
from courseyard.storage.seed import seed
from courseyard.yamlfile import VanishedError, YamlError, read_bytes, read_yaml

SECRET = "root:$y$j9T$secret-of-the-machine:20000::::::"
LEADS_OUT = "leads out of its folder by a link"
MOST = 1000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that others write in; beside it a secret of its administrator."""
    (tmp_path / "shadow").write_text(f"{SECRET}\n")
    (tmp_path / "shadow").chmod(0o600)
    folder = tmp_path / "courses"
    folder.mkdir()
    return folder


# --- inside -------------------------------------------------------------------------------------


def test_links_that_stay_inside_are_followed(folder: Path) -> None:
    (folder / "real.yaml").write_text("name: Real\n")
    (folder / "sub" / "deep").mkdir(parents=True)
    links = {
        "beside.yaml": "real.yaml",
        "absolute.yaml": folder / "real.yaml",
        "again.yaml": "beside.yaml",
        "round.yaml": "sub/deep/../../real.yaml",
    }
    for name, target in links.items():
        (folder / name).symlink_to(target)
        assert read_inside(folder / name, MOST) == b"name: Real\n", name


def test_a_configmap_is_read_through_its_links(folder: Path) -> None:
    """As the kubelet lays it out: names → ``..data`` → a folder of one moment."""
    data = folder / "..2026_11_29_10_15_00.123456789"
    data.mkdir()
    (data / "algo2026.yaml").write_text("name: Algorithms\n")
    (folder / "..data").symlink_to(data.name)
    (folder / "algo2026.yaml").symlink_to("..data/algo2026.yaml")
    assert read_inside(folder / "algo2026.yaml", MOST) == b"name: Algorithms\n"


def test_the_folder_itself_may_be_a_link(folder: Path, tmp_path: Path) -> None:
    (folder / "a.yaml").write_text("name: A\n")
    (folder / "b.yaml").symlink_to(folder / "a.yaml")
    for name, target in (("one", folder), ("two", "one")):
        (tmp_path / name).symlink_to(target)
        for file in ("a.yaml", "b.yaml"):
            assert read_inside(tmp_path / name / file, MOST) == b"name: A\n"


@pytest.mark.parametrize(
    "target", ["../shadow", "/etc/passwd", "sub/../../shadow", "sub/out/shadow", "../courses2/x"]
)
def test_links_that_leave_are_refused_unread(folder: Path, tmp_path: Path, target: str) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "out").symlink_to(tmp_path)
    (tmp_path / "courses2").mkdir()
    (tmp_path / "courses2" / "x").write_text("the name only begins like the folder's\n")
    (folder / "x.yaml").symlink_to(target)
    assert (folder / "x.yaml").read_bytes()  # without the protection it is read
    with pytest.raises(RefusedFileError, match=LEADS_OUT):
        read_inside(folder / "x.yaml", MOST)


def test_what_is_no_plain_file_of_that_size(folder: Path) -> None:
    """None of it waits for ever or fills the memory."""
    os.mkfifo(folder / "fifo.yaml")
    (folder / "zero.yaml").symlink_to("/dev/zero")
    (folder / "self.yaml").symlink_to("self.yaml")
    (folder / "folder.yaml").mkdir()
    (folder / "below.yaml").symlink_to("large.yaml/x")
    with (folder / "large.yaml").open("wb") as large:
        large.truncate(1 << 40)
    (folder / "gone.yaml").symlink_to("nothing")
    for name, said in {
        "fifo": "not a regular file",
        "zero": LEADS_OUT,
        "self": "in a circle",
        "folder": "not a regular file",
        "below": "not a regular file",
        "large": "larger than",
    }.items():
        with pytest.raises(RefusedFileError, match=said):
            read_inside(folder / f"{name}.yaml", 1 << 20)
    with pytest.raises(FileNotFoundError):
        read_inside(folder / "gone.yaml", MOST)


def test_a_device_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedFileError, match="not a regular file"):
        read_inside(Path("/dev/zero"), MOST)


def test_a_second_name_of_a_secret_file(folder: Path, tmp_path: Path) -> None:
    """Where the kernel lets people make one (fs.protected_hardlinks is 0)."""
    os.link(tmp_path / "shadow", folder / "x.yaml")
    with pytest.raises(RefusedFileError, match="hard link"):
        read_inside(folder / "x.yaml", MOST)
    (tmp_path / "shadow").chmod(0o644)  # everybody reads it anyway
    assert SECRET.encode() in read_inside(folder / "x.yaml", MOST)


def test_names_exchanged_meanwhile_never_lead_out(folder: Path, tmp_path: Path) -> None:
    """Somebody swaps file, folder and link for each other while they are read."""
    (folder / "real.yaml").write_text("name: Real\n")
    inner = folder / "inner"
    inner.mkdir()
    (inner / "x.yaml").write_text("name: Real\n")
    (folder / "x.yaml").symlink_to("inner/x.yaml")
    (tmp_path / "x.yaml").write_text(SECRET)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            inner.rename(folder / "aside")
            inner.symlink_to(tmp_path)
            inner.unlink()
            (folder / "aside").rename(inner)

    swapping = threading.Thread(target=swap)
    swapping.start()
    outcomes, by_name = set(), set()
    try:
        for _ in range(20_000):
            try:
                outcomes.add(read_inside(folder / "x.yaml", MOST))
            except (FileNotFoundError, RefusedFileError) as error:
                outcomes.add(str(error)[:5].encode())
            with suppress(FileNotFoundError):
                by_name.add((folder / "x.yaml").read_bytes())
    finally:
        stop.set()
        swapping.join()
    assert SECRET.encode() in by_name  # opened by its name, the secret is read now and then
    assert b"name: Real\n" in outcomes
    assert not any(SECRET.encode() in outcome for outcome in outcomes)


def test_no_descriptor_stays_open(folder: Path) -> None:
    (folder / "x.yaml").symlink_to("../shadow")
    (folder / "y.yaml").write_text("name: Y\n")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(50):
        with pytest.raises(YamlError):
            read_bytes(folder / "x.yaml")
        read_bytes(folder / "y.yaml")
        with pytest.raises(VanishedError):
            read_bytes(folder / "z.yaml")
    # One of another test may go meanwhile, when Python looks for garbage.
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


# --- every file that a site's people write ------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site whose administrator keeps a secret beside it."""
    folder = tmp_path / "site"
    (folder / "courses").mkdir(parents=True)
    (folder / "images" / "python").mkdir(parents=True)
    write(folder / "courseyard.yaml", {"name": "Example"})
    release = {"2026-08-15": {"path": "images/python"}}
    write(folder / "images.yaml", {"families": {"DEFAULT": {"releases": release}}})
    write(folder / "people.yaml", {"people": {"ada": {"uid": 20001}}})
    write(folder / "courses" / "algo.yaml", {"name": "Algorithms", "gid": 30001})
    write(folder / "passwords.yaml", {"ada": "x"})
    (folder / "passwords.yaml").chmod(0o600)
    (tmp_path / "shadow").write_text(f"{SECRET}\n")
    return folder


def write(file: Path, content: object) -> None:
    file.write_text(yaml.safe_dump(content))


def lead_out(file: Path) -> None:
    """Put a link to the secret in the file's place."""
    file.unlink(missing_ok=True)
    top = next(parent for parent in file.parents if (parent / "shadow").exists())
    file.symlink_to(top / "shadow")


WRITTEN = [
    "courses/algo.yaml",
    "courses/other.yaml",
    "courses/algo-users.yaml",
    "images.yaml",
    "people.yaml",
    "courseyard.yaml",
]


@pytest.mark.parametrize("form", [[], ["--json"]])
@pytest.mark.parametrize("name", WRITTEN)
def test_the_check_prints_nothing_of_what_a_link_leads_to(
    site: Path, name: str, form: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    lead_out(site / name)
    assert SECRET in (site / name).read_text()
    with pytest.raises(SystemExit):
        app(["check", str(site), *form], prog_name="courseyard")
    told = "".join(capsys.readouterr())
    assert "secret-of-the-machine" not in told
    assert "$y$j9T" not in told
    assert LEADS_OUT in told
    if form:
        assert json.loads(told)
    else:
        assert Path(name).name in told


@contextmanager
def opened_by_name(file: Path, *, within: Path | None) -> Iterator[int]:
    with file.open("rb") as opened:
        yield opened.fileno()


@pytest.mark.parametrize("name", WRITTEN[:3])
def test_without_the_protection_the_check_prints_it(
    site: Path, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attack works when files are opened by their names."""
    monkeypatch.setattr("courseyard.yamlfile.opened_inside", opened_by_name)
    lead_out(site / name)
    with pytest.raises(SystemExit):
        app(["check", str(site)], prog_name="courseyard")
    assert "secret-of-the-machine" in "".join(capsys.readouterr())


def test_a_running_hub_reads_the_same_way(site: Path, caplog: pytest.LogCaptureFixture) -> None:
    loaded, _ = check_site(site)
    assert loaded is not None
    registry = Registry(loaded, load_catalog(loaded))
    assert "algo" in registry.refresh().courses
    lead_out(site / "courses" / "algo.yaml")
    snapshot = registry.refresh()
    assert snapshot.courses["algo"].name == "Algorithms"  # the last good version
    assert [LEADS_OUT in p.message for p in snapshot.problems] == [True]
    assert "secret-of-the-machine" not in caplog.text
    os.mkfifo(site / "courses" / "pipe.yaml")
    assert any("not a regular file" in p.message for p in registry.refresh().problems)


def test_people_images_and_passwords(site: Path) -> None:
    loaded, _ = check_site(site)
    assert loaded is not None
    for name in ("people.yaml", "images.yaml", "passwords.yaml"):
        lead_out(site / name)
    for read in (
        lambda: load_people(site / "people.yaml", PeopleSettings()),
        lambda: load_catalog(loaded),
        lambda: read_passwords(loaded),
        lambda: passwords.read(site),
    ):
        with pytest.raises(SettingsError) as caught:
            read()
        assert "secret-of-the-machine" not in f"{caught.value}{caught.value.detail}"


def test_the_logo_is_shown_to_everybody(tmp_path: Path) -> None:
    """So a link to the hub's secrets must not be one."""
    state = tmp_path / "state"
    state.mkdir()
    (state / "cookie-secret").write_text("secret")
    branding = tmp_path / "branding"
    branding.mkdir()
    site = Site(folder=tmp_path, branding=Branding(logo=Path("branding/logo.svg")))
    (branding / "logo.svg").symlink_to("../state/cookie-secret")
    assert looks.logo(site) is None
    (branding / "logo.svg").unlink()
    (branding / "logo-2026.svg").write_text("<svg/>")
    (branding / "logo.svg").symlink_to("logo-2026.svg")
    assert looks.logo(site) == (b"<svg/>", "image/svg+xml")


def test_manifests_of_a_cluster(site: Path) -> None:
    write(site / "courseyard.yaml", {"name": "Example", "backend": "kubernetes"})
    loaded, _ = check_site(site)
    assert loaded is not None
    lead_out(site / "kustomization.yaml")
    (site / "secrets").mkdir()
    lead_out(site / "secrets" / "routes-token")
    found = list(clusterproblems.problems(loaded))
    assert LEADS_OUT in found[0].message
    assert "secret-of-the-machine" not in "".join(map(str, found))


def test_a_course_of_another_folder_is_read_there(site: Path, tmp_path: Path) -> None:
    """``courses`` of the site file may be elsewhere, and that folder a link of the administrator's."""
    elsewhere = tmp_path / "elsewhere"
    (site / "courses").rename(elsewhere)
    (tmp_path / "current").symlink_to("elsewhere")
    (elsewhere / "copy.yaml").symlink_to("algo.yaml")
    write(site / "courseyard.yaml", {"name": "Example", "courses": str(tmp_path / "current")})
    loaded, _ = check_site(site)
    assert loaded is not None
    snapshot = load_snapshot(loaded, ImageCatalog({}))
    assert {"algo", "copy"} <= set(snapshot.courses)
    assert read_yaml(elsewhere / "copy.yaml").data["name"] == "Algorithms"


def test_the_first_files_of_a_course_come_from_its_own_folder(site: Path, tmp_path: Path) -> None:
    """The agent copies them as root into what instructors read."""
    own = site / "course" / "algo"
    (own / "files").mkdir(parents=True)
    (own / "files" / "a.txt").write_text("of the course")
    storage = tmp_path / "storage"
    source = storage / layout.files("algo") / "source"
    source.mkdir(parents=True)
    algo = Course(slug="algo", name="Algorithms", gid=os.getgid() or 30001)
    assert seed(site, storage, algo, dry_run=False) == 1
    (source.parent / "a.txt").unlink()
    (own / "files").rename(own / "real")
    (own / "files").symlink_to(tmp_path)  # where the secret is
    with pytest.raises(StorageError) as caught:
        seed(site, storage, algo)
    assert LEADS_OUT in (caught.value.detail or "")
    copied = [path for path in storage.rglob("*") if path.is_file()]
    assert not any(SECRET in path.read_text() for path in copied)
    (own / "files").unlink()
    own.rename(site / "course" / "moved")
    own.symlink_to(tmp_path)
    assert seed(site, storage, algo) == 0
