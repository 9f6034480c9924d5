"""A start in two steps: bubblewrap makes the namespaces; ``become.py`` inside becomes the server.

Between them this side checks that the mounts are the folders that were opened, so that nobody can
swap one by a link in the meantime. All here blocks: run it in a thread.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from courseyard.backends.sandbox import image as images
from courseyard.backends.sandbox import limits, machine, namespaces, network, system
from courseyard.backends.sandbox.carriers import Carriers, Starting
from courseyard.backends.sandbox.processes import Process
from courseyard.errors import StartError, UnsupportedError
from courseyard.plan.model import ServerPlan
from courseyard.singleuser import seccomp

_PACKAGE = Path(__file__).resolve().parents[2]
PROGRAMS = namespaces.Programs(
    singleuser=str(_PACKAGE / "singleuser"),
    become=str(Path(__file__).parent / "inside" / "become.py"),
)
START = f"{namespaces.PROGRAMS}/start.py"
_TIMEOUT = 60.0  # seconds until the namespaces stand; normally 0.05
_LONGEST = 64 * 1024  # bytes of an answer from inside
STATUS = "status.json"
NOTICES = "notices"  # folder that the server sees read-only


@dataclass(frozen=True, slots=True)
class Wanted:
    """All that one launch needs."""

    plan: ServerPlan
    environment: Mapping[str, str]  # with the secrets
    folder: Path  # of the server's records; the status file goes there
    sources: Mapping[str, int]  # mount source → opened folder
    output: int  # descriptor for what the server writes
    entrance: socket.socket | None = None  # where connections to the server arrive, outside
    hub: tuple[str, int] | None = None  # address and port of its API, for the relay
    carriers: Carriers | None = None  # what starts the carrier for these two; None: there is none
    cgroup: limits.Cgroup = field(default_factory=limits.Cgroup)
    command: tuple[str, ...] = (START,)  # what the image's Python runs
    grading: str = ""  # folder with the socket of the sandbox for grading
    name: Callable[[socket.socket], None] | None = None  # names a Unix socket, to listen on it
    first: bool = False  # the command is the first process of its PID namespace


@dataclass(frozen=True, slots=True)
class Running:
    """The processes of a started server."""

    outer: Process  # bubblewrap outside; ends with the server
    init: Process  # first process of the PID namespace: when it dies, all of them die
    server: Process
    carrier: Process | None
    helpers: tuple[Process, ...] = ()


def check(plan: ServerPlan) -> None:
    """Refuse what this backend does not have.

    Raises:
        UnsupportedError: with what the person or the administrators can do.
    """
    extra = {**plan.limits.extra_limits, **plan.limits.extra_guarantees}
    if extra:
        raise UnsupportedError(
            f"{plan.title} needs {', '.join(sorted(extra))}, which this machine does not offer.",
            "Ask the course's staff whether there is a variant that runs here.",
        )
    if plan.image.path is None:
        raise UnsupportedError(
            "The software of this server is a container image, which this machine cannot run.",
            "Ask an administrator to list a directory for it in images.yaml.",
            detail=f"image {plan.image.reference} has no path",
        )
    if plan.network == "full":
        network.internet()


@dataclass
class Launch:
    """One launch; ``run`` once in a thread, ``abort`` from anywhere."""

    wanted: Wanted
    _process: subprocess.Popen[bytes] | None = None
    _helpers: list[Process] = field(default_factory=list)
    _channel: socket.socket | None = None
    _aborted: bool = False

    def run(self) -> Running:
        """Start the server's program; on failure nothing is left running.

        Raises:
            UnsupportedError: the image or the machine does not do.
            StartError: a step failed or took too long.
        """
        check(self.wanted.plan)
        try:
            return self._run()
        except (OSError, ValueError, TimeoutError) as error:
            self.abort()
            raise self._failure(f"{type(error).__name__}: {error}") from error
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Stop the launch and kill what it started; idempotent."""
        self._aborted = True
        if self._channel is not None:
            with contextlib.suppress(OSError):
                self._channel.shutdown(socket.SHUT_RDWR)
        for helper in self._helpers:
            with contextlib.suppress(OSError):
                helper.signal(signal.SIGKILL)
        if self._process is not None:
            kill_unfinished(self.wanted.folder)
            # Its child waits for ever when bubblewrap dies before telling its pid.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=10)

    def _run(self) -> Running:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with self._channel, theirs:
            self._channel.settimeout(_TIMEOUT)
            self._channel.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            image = images.examine(_image_path(self.wanted.plan))
            self._process = self._spawn(image, theirs.fileno())
            theirs.close()
            if self._aborted:
                raise self._failure("aborted")
            pid = self._ready()
            init = Process.of(_status(self.wanted.folder)["child-pid"])
            self._check_mounts(pid)
            helpers: list[Process] = []
            if self.wanted.plan.network == "full":
                real = machine.is_root()
                helpers.append(Process.of(network.internet().start(pid, real_ids=real)))
                self._helpers.extend(helpers)
            starting = self._carry(init)
            server = Process.of(pid)
            self._go(image)
            carrier = starting.wait() if starting is not None else None
        outer = Process.of(self._process.pid)
        return Running(outer, init, server, carrier, tuple(helpers))

    def _carry(self, init: Process) -> Starting | None:
        """Start the carrier; it gets ready while the server's program loads."""
        wanted = self.wanted
        if wanted.carriers is None:
            return None
        carrier = wanted.carriers.start(
            init,
            entrance=wanted.entrance,
            hub=wanted.hub,
            uid=wanted.plan.identity.uid,
            cgroup=wanted.cgroup,
        )
        self._helpers.append(carrier.process)
        return carrier

    def _spawn(self, image: images.Image, channel: int) -> subprocess.Popen[bytes]:
        wanted = self.wanted
        with contextlib.ExitStack() as stack:
            passed = [channel, *wanted.sources.values()]

            def descriptor(content: bytes) -> int:
                number = os.memfd_create("courseyard")
                stack.callback(os.close, number)
                os.write(number, content)
                os.lseek(number, 0, os.SEEK_SET)
                passed.append(number)
                return number

            status = os.open(wanted.folder / STATUS, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            stack.callback(os.close, status)
            passed.append(status)
            words = self._words(image, descriptor)
            words += ["--json-status-fd", str(status)]
            arguments = descriptor("".join(f"{word}\0" for word in words).encode())
            listens = "unix" if wanted.name else str(network.SERVER_PORT)
            return subprocess.Popen(
                [machine.bubblewrap(), "--args", str(arguments), "--", image.python, "-I", "-S",
                 namespaces.BECOME, str(channel), listens],
                pass_fds=passed,
                stdin=subprocess.DEVNULL,
                stdout=wanted.output,
                stderr=wanted.output,
                cwd="/",
                env={},
                start_new_session=True,
                preexec_fn=stack.enter_context(wanted.cgroup.joining()),
            )  # fmt: skip

    def _words(self, image: images.Image, descriptor: Callable[[bytes], int]) -> list[str]:
        view = system.of_tree(Path(image.root)) if image.root else system.of_machine()
        resolver = network.internet().resolver if self.wanted.plan.network == "full" else ""
        notices = ""
        if self.wanted.name is None:  # mountinfo shows the folder, which has the person's name
            notices = str(self.wanted.folder / NOTICES)
            Path(notices).mkdir(mode=0o755, exist_ok=True)
        made = namespaces.words(
            self.wanted.plan, view, image, PROGRAMS, real_ids=machine.is_root(),
            resolver=resolver, notices=notices,
            grading=self.wanted.grading, first=self.wanted.first,
        )  # fmt: skip
        words: list[str] = []
        for word in made:
            if isinstance(word, namespaces.Data):
                words.append(str(descriptor(word.content)))
            elif isinstance(word, namespaces.Source):
                words.append(f"/proc/self/fd/{self.wanted.sources[word.relative]}")
            else:
                words.append(word)
        filter_ = seccomp.program()
        if filter_ is not None:
            words += ["--seccomp", str(descriptor(filter_))]
        return words

    def _ready(self) -> int:
        """Wait for become.py; its pid out here. A Unix socket that it sent gets its name."""
        assert self._channel is not None
        space = socket.CMSG_SPACE(struct.calcsize("3i")) + socket.CMSG_SPACE(4)
        text, ancillary, _, _ = self._channel.recvmsg(_LONGEST, space)
        pid = 0
        for _, kind, data in ancillary:
            if kind == socket.SCM_CREDENTIALS:
                pid = struct.unpack("3i", data)[0]
            elif kind == socket.SCM_RIGHTS:
                with socket.socket(fileno=struct.unpack("i", data[:4])[0]) as listening:
                    if self.wanted.name is not None:
                        self.wanted.name(listening)
        answer = json.loads(text) if text else {"error": "bubblewrap ended"}
        if "error" in answer or not pid:
            raise self._failure(str(answer.get("error", "nobody sent it")))
        return pid

    def _check_mounts(self, pid: int) -> None:
        """What is mounted is what was opened, whatever happened to the paths meanwhile."""
        if not machine.is_root():
            return  # one UID: there is nobody to protect from, and /proc/PID/root is closed
        for mount in self.wanted.plan.mounts:
            inside = Path(f"/proc/{pid}/root{mount.target}").stat()
            opened = os.fstat(self.wanted.sources[mount.source])
            if (inside.st_dev, inside.st_ino) != (opened.st_dev, opened.st_ino):
                raise self._failure(f"{mount.source} was replaced during the start")

    def _go(self, image: images.Image) -> None:
        assert self._channel is not None
        plan, who = self.wanted.plan, self.wanted.plan.identity
        bounded = bool(self.wanted.cgroup.folders)
        environment = {
            "PATH": f"{image.bin}:/usr/local/bin:/usr/bin:/bin".removeprefix(":"),
            "LANG": "C.UTF-8",
            "SHELL": "/bin/bash",
            **({"EMAIL": who.email} if who.email else {}),  # read by git
            **self.wanted.environment,
            "HOME": who.home,
            "USER": who.username,
            "LOGNAME": who.username,
        }
        request = {
            # Isolated from the first line on: PYTHONPATH, which kernels and terminals get, names
            # folders in which a course's own json.py may lie.
            "argv": [image.python, "-I", *self.wanted.command],
            "environment": environment,
            "folder": who.home,
            "home": who.home,
            "uid": who.uid,
            "gid": who.gid,
            "groups": sorted({group.gid for group in who.supplementary} - {who.gid}),
            "umask": who.umask,
            "nice": 0 if bounded else 5,
            "rlimits": limits.rlimits(plan.limits, cgroup=bounded),
        }
        self._channel.sendall(json.dumps(request).encode())
        answer = self._channel.recv(_LONGEST)
        if answer:
            raise self._failure(str(json.loads(answer).get("error")))

    def _failure(self, detail: str) -> StartError:
        return StartError(
            "The server could not be started.",
            "Try again; if it happens again, tell the administrators.",
            detail=detail,
        )


def _image_path(plan: ServerPlan) -> Path:
    assert plan.image.path is not None  # check() ran
    return plan.image.path


def _status(folder: Path) -> dict[str, int]:
    """What bubblewrap wrote: ``child-pid``, and ``exit-code`` after the end."""
    found: dict[str, int] = {}
    with contextlib.suppress(FileNotFoundError):
        for line in (folder / STATUS).read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError, AttributeError):
                found.update((k, v) for k, v in json.loads(line).items() if isinstance(v, int))
    return found


def kill_unfinished(folder: Path) -> None:
    """Kill what a start that did not finish left, by the status file in ``folder``."""
    with contextlib.suppress(OSError):
        found = first_process(folder)
        if found is not None:
            found.signal(signal.SIGKILL)


def first_process(folder: Path) -> Process | None:
    """What runs as the first process of a PID namespace by the status file in ``folder``.

    Raises:
        OSError: that cannot be seen now.
    """
    pid = _status(folder).get("child-pid")
    try:
        return Process.of(pid) if pid and _first_of_a_namespace(pid) else None
    except (FileNotFoundError, ProcessLookupError):
        return None


def _first_of_a_namespace(pid: int) -> bool:
    """Whether a process is what bubblewrap made: another one may have its number by now."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, numbers = line.partition(":")
        if name == "NSpid":
            return len(numbers.split()) > 1 and numbers.split()[-1] == "1"
    return False


def exit_code(folder: Path) -> int | None:
    """Exit status of the server whose status file lies in ``folder``; None when unknown."""
    return _status(folder).get("exit-code")
