"""One kernel after the other in the sandbox for grading: the second finds what the first one found.

A real runner in namespaces of its own, with plain Python programs in the place of kernels. Each
attack works on a runner without the piece that stops it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from courseyard.backends.sandbox import grading
from courseyard.singleuser.courseyard_nbgrader import tunnel, way
from tests.conftest import bubblewrap

PROGRAM = Path(grading.__file__).resolve().parents[2] / "singleuser"
PYTHON = str(Path(sys.executable).resolve())
AS_ROOT = os.geteuid() == 0
UID = 20001
BWRAP = bubblewrap()
pytestmark = pytest.mark.skipif(not BWRAP, reason="needs bubblewrap")

#: All that a kernel can look at, as JSON.
LOOK = """
import ctypes, json, os, pathlib, resource
libc = ctypes.CDLL(None, use_errno=True)
def files(top):
    for folder, names, others in os.walk(top):
        yield from (os.path.join(folder, name) for name in (*names, *others))
def about(top):
    found = os.stat(top)
    return [oct(found.st_mode), found.st_mtime > 1000, os.listxattr(top)]
tops = ("/tmp", "/dev/shm", "/home", "/var/tmp", "/run")
ours = [name for name in os.listdir("/proc") if name.isdigit() and int(name) not in (1, os.getpid())]
print("FOUND" + json.dumps({
    "ipc": {kind: len(pathlib.Path("/proc/sysvipc", kind).read_text().splitlines()) - 1
            for kind in ("shm", "sem", "msg")},
    "queue": libc.mq_open(b"/left", 0) >= 0,
    "files": sorted(name for top in tops for name in files(top) if "left" in name),
    "folders": {top: about(top) for top in tops if os.path.isdir(top)},
    "processes": [pathlib.Path("/proc", name, "stat").read_text() for name in ours],
    "limits": {name: resource.getrlimit(getattr(resource, name))
               for name in dir(resource) if name.startswith("RLIMIT_")},
    "nice": os.getpriority(os.PRIO_PROCESS, 0),
    "scheduler": os.sched_getscheduler(0),
    "io": libc.syscall(IO_GET, 1, 0),
    "cores": sorted(os.sched_getaffinity(0)),
    "score": open("/proc/self/oom_score_adj").read(),
    "signals": [line for line in open("/proc/self/status") if line.startswith("Sig")][2:],
}))
"""
BEGIN = """
import ctypes, os, resource, signal, socket, subprocess, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def apart(work):
    if not os.fork():
        os.setsid()
        for number in range(1, 65):
            try: signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError): pass
        if not os.fork():
            work()
        os._exit(0)
    os.wait()
def headless():
    def rest():
        time.sleep(0.2)
        time.sleep(600)
    threading.Thread(target=rest).start()
    libc.syscall(EXIT, 0)
def bomb():
    resource.setrlimit(resource.RLIMIT_NPROC, (150, 150))
    while True:
        try: os.fork()
        except OSError: os._exit(0)
def stopped():
    os.kill(os.getpid(), signal.SIGSTOP)
def tree():
    os.makedirs("/home/left"); os.chdir("/home/left")
    for _ in range(1500):
        os.mkdir("left"); os.chdir("left")
    os.chmod("/home/left", 0)
def tried(what):
    try: what()
    except OSError: pass
"""
#: Kind → what the first kernel does; a kernel must not need the result.
LEAVE = {
    "shared memory": "libc.shmat.restype = ctypes.c_void_p\n"
    "for _ in range(12): assert libc.shmat(libc.shmget(0, 1 << 20, 0o1600), None, 0)",
    "shared memory with a key": "libc.shmget(4711, 4096, 0o1000)",
    "semaphores": "libc.semget(0, 5, 0o1000)",
    "message queues": "libc.msgsnd(libc.msgget(0, 0o1600), b'12345678left', 4, 0)",
    "named queues": "libc.mq_open(b'/left', os.O_CREAT | os.O_RDWR, 0o600, None)",
    "a file in /tmp": "open('/tmp/left', 'w').write('x')",
    "a file in /dev/shm": "open('/dev/shm/left', 'w').write('x')",
    "a file in the home directory": "open('/home/left', 'w').write('x')",
    "a file in /var/tmp": "open('/var/tmp/left', 'w').write('x')",
    "long names": "[open('/tmp/left' + c * 251, 'w') for c in 'a\\n']; os.mkfifo('/home/left')",
    "names that are no text": "open(b'/tmp/left\\xff', 'w'); os.symlink('/', '/home/-left')",
    "a deep closed tree": "tree()",
    "many files": "os.mkdir('/tmp/left'); [os.close(os.open(f'{p}left{n}', os.O_CREAT))"
    " for n in range(3000) for p in ('/tmp/', '/tmp/left/')]",
    "closed folders": "[os.makedirs(f'/tmp/left{n}/x/y') or os.chmod(f'/tmp/left{n}', 0)"
    " for n in range(1200)]",
    "the mode of a folder": "tried(lambda: os.chmod('/home', 0o711)); os.chmod('/dev/shm', 0)",
    "the time of a folder": "os.utime('/home', (1, 1))",
    "attributes of a folder": "os.setxattr('/home', 'user.left', b'x')",
    "a process": "apart(lambda: time.sleep(600))",
    "a stopped process": "apart(stopped)",
    "a process without its first thread": "apart(headless); time.sleep(0.5)",
    "processes without end": "apart(bomb); time.sleep(0.5)",
    "lower limits": "tried(lambda: resource.prlimit(1, resource.RLIMIT_FSIZE, (9 << 20, 9 << 20)))",
    "no more files": "tried(lambda: resource.prlimit(1, resource.RLIMIT_NOFILE, (3, 3)))",
    "a lower priority": "tried(lambda: os.setpriority(os.PRIO_PROCESS, 1, 7))",
    "a lower priority for all": "tried(lambda: os.setpriority(os.PRIO_USER, 0, 7))",
    "another scheduler": "tried(lambda: os.sched_setscheduler(1, os.SCHED_BATCH,"
    " os.sched_param(0)))",
    "a lower priority on disks": "libc.syscall(IO_SET, 1, 1, 3 << 13)",
    "fewer cores": "os.sched_setaffinity(1, [min(os.sched_getaffinity(0))])",
    "its end": "os.kill(1, signal.SIGTERM); time.sleep(0.5)",
    "its interruption": "os.kill(1, signal.SIGINT); time.sleep(0.5)",
}
#: Which pieces to take away: file → text → what stands there instead.
BARE = {
    "leftovers.py": {
        "        self.processes.end_all()\n": (
            "        self.processes.run([program('rm'), '-rf', '/tmp/kernel']); return\n"
        )
    },
    "processes.py": {
        "        deadline = time.monotonic() + PATIENCE\n": "        return\n        deadline = 0.0\n"
    },
    "confine.py": {"numbers = _NUMBERS.get(machine)": "numbers = None"},
    "runner.py": {
        "signal.signal(signal.SIGINT, signal.SIG_DFL)": "pass",
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})": (
            "signal.signal(signal.SIGTERM, lambda *_: os._exit(0))"
        ),
        "            self._drain()\n": "",
    },
}
ARCH = {"x86_64": (252, 251, 60), "aarch64": (31, 30, 93)}[os.uname().machine]
NUMBERS = dict(zip(("IO_GET", "IO_SET", "EXIT"), map(str, ARCH), strict=True))


def numbered(code: str) -> str:
    for name, number in NUMBERS.items():
        code = code.replace(name, number)
    return code


@pytest.fixture(scope="module")
def programs() -> Iterator[dict[bool, Path]]:
    """The programs as they are, and those without protection."""
    top = Path(tempfile.mkdtemp(prefix="courseyard-leftovers-"))
    top.chmod(0o755)
    bare = shutil.copytree(PROGRAM, top / "bare", ignore=shutil.ignore_patterns("__pycache__"))
    for name, changes in BARE.items():
        file = bare / "grading" / name
        text = file.read_text()
        for before, after in changes.items():
            assert before in text, (name, before)
            text = text.replace(before, after)
        file.write_text(text)
    yield {True: PROGRAM, False: bare}
    shutil.rmtree(top)


class Sandbox:
    """A runner, and kernels in it."""

    def __init__(self, folder: Path, program: Path) -> None:
        self.address = f"unix:{folder}/socket"
        with socket.socket(socket.AF_UNIX) as listening:
            grading.listen(listening, folder, UID if AS_ROOT else None)
            number = listening.fileno()
            drop = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups"]
            self.process = subprocess.Popen(
                [*(drop if AS_ROOT else ()),
                 BWRAP, "--unshare-all", "--as-pid-1", "--die-with-parent", "--ro-bind", "/", "/",
                 "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/dev/shm", "--remount-ro", "/dev",
                 "--tmpfs", "/tmp", "--tmpfs", "/var/tmp", "--tmpfs", "/home",
                 "--tmpfs", "/run", "--remount-ro", "/run", "--ro-bind", str(program), "/mnt",
                 PYTHON, "-I", "/mnt/grading/runner.py"],
                env={"PATH": "/usr/bin:/bin", "COURSEYARD_SOCKET_FD": str(number)},
                pass_fds=[number],
            )  # fmt: skip

    def begin(self, code: str) -> tunnel.RemoteKernel:
        return tunnel.RemoteKernel(
            [PYTHON, "-I", "-c", numbered(code), "{connection_file}"],
            environment={},
            connection={},
            folder=Path("/nowhere"),
            modules=None,
            seconds=30,
        )

    def run(self, code: str) -> str:
        """What a kernel wrote last, at its end."""
        kernel = self.begin(code)
        try:
            assert kernel.ended.wait(40)
            return kernel._said
        finally:
            kernel.close()

    def look(self) -> Any:
        try:
            said = self.run(LOOK)
        except way.NoSandboxError:
            return "it cannot run"
        return json.loads(said.partition("FOUND")[2] or '"it failed"')


@contextlib.contextmanager
def sandbox(program: Path) -> Iterator[Sandbox]:
    top = Path(tempfile.mkdtemp(prefix="courseyard-"))
    top.chmod(0o755)
    made = Sandbox(top / "grading", program)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(way.ADDRESS, made.address)
        try:
            yield made
        finally:
            made.process.kill()
            made.process.wait()
            shutil.rmtree(top)


@pytest.fixture(scope="module")
def first(programs: dict[bool, Path]) -> Any:
    """What the first kernel of a sandbox finds."""
    with sandbox(programs[True]) as one:
        found = one.look()
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("kind", [*LEAVE])
def test_nothing_stays(kind: str, programs: dict[bool, Path], first: Any) -> None:
    if kind == "fewer cores" and len(os.sched_getaffinity(0)) < 2:
        pytest.skip("there is only one")
    for protected in (False, True):
        with sandbox(programs[protected]) as one:
            with contextlib.suppress(way.NoSandboxError):
                one.run(BEGIN + LEAVE[kind])
            found = one.look()
            assert (found == first) == protected, "it stays" if protected else "the attack is none"


HIDE = """
import array, json, socket, sys
address = json.load(open(sys.argv[1]))["ip"] + "-1"
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(address)
    listener.listen()
    there, _ = listener.accept()
name = socket.socket(socket.AF_UNIX)
name.bind("\\0left")
there.settimeout(1)
try:
    while True:  # until nobody reads it any more
        there.sendmsg([b"x" * 1000], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [name.fileno()]))])
except TimeoutError:
    pass
"""
TAKE = "import socket; socket.socket(socket.AF_UNIX).bind('\\0left'); print('free')"


@pytest.mark.parametrize("protected", [False, True])
def test_nothing_is_under_way_in_a_channel(protected: bool, programs: dict[bool, Path]) -> None:
    """An open file that was sent lives on; so does what it names or holds."""
    with sandbox(programs[protected]) as one:
        kernel = one.begin(HIDE)
        request = {"do": "connect", "kernel": kernel._id, "channel": 1}
        with way.find_way().connect(request):
            assert kernel.ended.wait(30)
            assert ("free" in one.run(TAKE)) == protected
        kernel.close()


def test_it_ends_when_it_is_told_from_outside(programs: dict[bool, Path]) -> None:
    """As the first process it is not ended by a signal that it does not wait for."""
    with sandbox(programs[True]) as one:
        assert "FOUND" in one.run(LOOK)
        outer = Path(f"/proc/{one.process.pid}/task/{one.process.pid}/children")
        inner = int(outer.read_text().split()[0])
        os.kill(inner, signal.SIGTERM)
        deadline = time.monotonic() + 20
        while one.process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_what_outlives_a_sandbox_is_not_to_be_written(
    programs: dict[bool, Path], tmp_path: Path
) -> None:
    """A folder on a disk would be emptied, or tell the next submission of the last."""
    owner = tmp_path / "of-somebody"
    owner.mkdir()
    (owner / "thesis").write_text("all of it")
    done = subprocess.run(
        [BWRAP, "--unshare-all", "--as-pid-1", "--ro-bind", "/", "/", "--proc", "/proc",
         "--tmpfs", "/tmp", "--bind", str(owner), "/mnt", "--ro-bind", str(PROGRAM), "/srv",
         PYTHON, "-I", "/srv/grading/runner.py"],
        env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode == 1
    assert "/mnt can be written and outlives a submission" in done.stderr
    assert (owner / "thesis").read_text() == "all of it"
