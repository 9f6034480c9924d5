"""What hub and proxy can see and do: tried from inside, as root and as an ordinary user."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from courseyard.backends.sandbox import machine
from courseyard.cli import confine, state
from courseyard.cli.init import make_site
from courseyard.errors import SettingsError
from courseyard.settings import HubSettings, Site
from courseyard.sitefile import load_site

ROOT = os.geteuid() == 0

LOOK = """
import json, os, sys
site = sys.argv[1]
def tries(action):
    try:
        action()
        return True
    except OSError:
        return False
def write(path):
    return tries(lambda: open(path, "a").close())
def caps():
    text = open("/proc/self/status").read()
    return [line.split()[1] for line in text.splitlines() if line.startswith(("CapEff", "CapPrm", "CapAmb"))]
status = open("/proc/self/status").read()
print(json.dumps({
    "uid": os.getuid(), "gid": os.getgid(), "groups": os.getgroups(), "caps": caps(),
    "no_new_privs": "NoNewPrivs:\\t1" in status,
    "site_file": tries(lambda: open(f"{site}/courseyard.yaml").read()),
    "passwords": tries(lambda: open(f"{site}/passwords.yaml").read()),
    "courses": sorted(os.listdir(f"{site}/courses")),
    "storage": os.listdir(f"{site}/storage"),
    "agent": os.listdir(f"{site}/state/agent"),
    "hub": os.listdir(f"{site}/state/hub"), "proxy": os.listdir(f"{site}/state/proxy"),
    "write_hub": write(f"{site}/state/hub/x"), "write_tmp": write("/tmp/x"),
    "write_site": write(f"{site}/courses/evil.yaml"), "write_package": write(sys.argv[2]),
    "write_run": write(f"{site}/state/run/x"), "write_usr": write("/usr/x"),
    "write_root": write("/x"),
    "top": sorted(os.listdir("/")), "processes": [p for p in os.listdir("/proc") if p.isdigit()],
}))
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site below a private folder of ours, with somebody's files in its storage."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    make_site(private / "demo")
    loaded = load_site(private / "demo")
    secret = loaded.storage_root / "u" / "03" / "maija"
    secret.mkdir(parents=True)
    (secret / "thesis.txt").write_text("private")
    return loaded


def look(site: Site, part: str = "hub") -> dict[str, object]:
    account = state.account_of(site, make=True)
    state.prepare(site, account)
    if account is not None:
        os.chown(site.folder / "passwords.yaml", account.uid, -1)
    package = Path(confine.__file__).parent / "evil.py"
    words = confine.walls(site, [site.state_dir / part])
    command = [*confine._drop(account), sys.executable, "-c", LOOK]
    done = subprocess.run(
        [machine.bubblewrap(), *words, "--", *command, str(site.folder), str(package)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_inside_there_is_what_the_hub_needs_and_nothing_else(
    site: Site, require: Callable[[str], None]
) -> None:
    require("bubblewrap")
    seen = look(site)
    wanted = {
        "no_new_privs": True,
        "site_file": True,
        "passwords": True,
        "storage": [],
        "agent": [],
        "write_hub": True,
        "write_tmp": True,
        "write_site": False,
        "write_package": False,
        "write_run": False,
        "write_usr": False,
        "write_root": False,
    }
    assert {key: seen[key] for key in wanted} == wanted
    assert "algo2026.yaml" in seen["courses"]  # type: ignore[operator]
    needed = {*site.folder.parts, *Path(__file__).parts, *Path(sys.base_prefix).parts}
    assert not set(seen["top"]) & {"home", "boot", "srv", "media"} - needed  # type: ignore[call-overload]
    assert len(seen["processes"]) <= 4  # type: ignore[arg-type]


def test_the_proxy_sees_nothing_of_the_hubs(site: Site, require: Callable[[str], None]) -> None:
    """They are one account: the cookie secret and the database are there for whoever sees them."""
    require("bubblewrap")
    for part in ("hub", "proxy"):
        (site.state_dir / part).mkdir(parents=True, exist_ok=True)
        (site.state_dir / part / "secret").write_text("private")
    seen = look(site, "proxy")
    assert (seen["hub"], seen["proxy"]) == ([], ["secret"])
    seen = look(site, "hub")
    assert "secret" in seen["hub"]  # type: ignore[operator]
    assert seen["proxy"] == []


def test_root_becomes_the_hubs_account_without_any_capability(
    site: Site, require: Callable[[str], None]
) -> None:
    require("root")
    seen = look(site)
    account = state.account_of(site)
    assert account is not None
    assert (seen["uid"], seen["gid"], seen["groups"]) == (account.uid, account.gid, [])
    assert {int(number, 16) for number in seen["caps"]} == {0}  # type: ignore[attr-defined]


def test_course_files_below_the_storage_root_are_seen(site: Site) -> None:
    meta = site.storage_root / "course" / "meta"
    meta.parent.mkdir(parents=True)
    shutil.move(site.courses_dir, meta)
    site.courses_dir.symlink_to(meta)
    seen = look(site)
    assert "algo2026.yaml" in seen["courses"]  # type: ignore[operator]
    assert seen["storage"] == ["course"]


def test_roots_account_is_refused(site: Site, require: Callable[[str], None]) -> None:
    require("root")
    bad = site.model_copy(update={"hub": HubSettings.model_validate({"account": "root"})})
    with pytest.raises(SettingsError, match="not root"):
        state.account_of(bad)


def test_state_of_another_account_is_handed_over_without_following_links(
    site: Site, require: Callable[[str], None]
) -> None:
    require("root")
    account = state.account_of(site, make=True)
    assert account is not None
    hub = site.state_dir / "hub"
    hub.mkdir(parents=True)
    (hub / "jupyterhub.sqlite").write_text("")
    outside = site.folder / "outside"
    outside.write_text("")
    (hub / "link").symlink_to(outside)
    os.chown(hub, 12345, 12345)
    state.prepare(site, account)
    assert (hub / "jupyterhub.sqlite").stat().st_uid == account.uid
    assert outside.stat().st_uid == 0


@pytest.mark.skipif(ROOT, reason="needs an ordinary user")
def test_state_of_another_account_is_refused_with_a_sentence(site: Site) -> None:
    site.state_dir.mkdir()
    site.state_dir.chmod(0o500)
    with pytest.raises((SettingsError, PermissionError)):
        state.prepare(site, None)
