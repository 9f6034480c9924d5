"""Trap 10: autograding ran students' code with the instructor's rights.

A real instructor's server grades submissions that look for what is not theirs and leave behind what
they can for the next one.
"""

from __future__ import annotations

import json
from typing import Any

from courseyard.plan.nbgrader import APPEND_FILE
from courseyard.settings import GRADING_UIDS
from tests.nbgrader.conftest import AS_ROOT, COURSE
from tests.nbgrader.servers import MEMORY, Servers
from tests.nbgrader.servers import servers as servers  # the fixture

HOME = f"/notebooks/{COURSE}/week1"
#: Looks around as a student's code would, and tells it as JSON.
LOOK = """
import ctypes, json, os, pathlib, pwd, signal, socket, sys
import helper
def tries(what):
    try:
        return what() or "done"
    except OSError as error:
        return type(error).__name__
def knock(port):
    with socket.create_connection(("127.0.0.1", port), 2) as there:
        there.sendall(b"GET /hub/api HTTP/1.0\\r\\n\\r\\n")
        return repr(there.recv(100))
places = [folder for top in ("/course", "/notebooks", "/srv", "/home", "/tmp", "/coursedata", "/run")
          for folder, _, _ in os.walk(top)]
found = {
    "uid": os.getuid(),
    "gids": sorted({os.getgid(), *os.getgroups()}),
    "notebooks": [str(p) for top in ("/course", "/notebooks", "/srv", "/home", "/tmp", "/run")
                  for p in pathlib.Path(top).rglob("*.ipynb") if not str(p).startswith(sys.prefix)],
    "places": [p for p in places if p.startswith(("/course/", "/notebooks", "/srv/nbgrader"))],
    "gradebook": tries(lambda: open("/course/gradebook.db", "rb").read(9)),
    "secrets": [n for n in os.environ if "TOKEN" in n or n.startswith(("JUPYTERHUB", "COURSEYARD"))],
    "first": tries(lambda: open("/proc/1/environ").read()),
    "memory": tries(lambda: open("/proc/1/mem", "rb").read(1)),
    "written": [p for p in ("/", "/etc", "/opt/courseyard", "/coursedata", "/usr", sys.prefix)
                if tries(lambda: open(p + "/mine", "w").write("x")) == 1],
    "hub": tries(lambda: knock(8081)),
    "runner": tries(lambda: knock(8082)),
    "processes": sorted(int(p) for p in os.listdir("/proc") if p.isdigit()),
    "own": os.getpid(),
    "left": [str(p) for top in ("/tmp", "/dev/shm", "/home") for p in pathlib.Path(top).rglob("*left*") if not str(p).startswith(sys.prefix)],
    "ipc": [k for k in ("shm", "sem", "msg") if open("/proc/sysvipc/" + k).read().count("\\n") > 1],
    "name": pwd.getpwuid(os.getuid()),
    "told": [str(p) for top in ("/etc", "/etc/courseyard") for p in pathlib.Path(top).glob("*")
             if p.is_file() and os.access(p, os.R_OK) and b"Lindholm" in p.read_bytes()]
            + [n for n, v in os.environ.items() if "ada" in v.lower()],
    "data": open("numbers.csv").read().strip(),
    "helper": helper.NAME,
    "grading": os.environ.get("NBGRADER_EXECUTION"),
    "draft": tries(lambda: open("/coursedata/exam-draft.txt").read()),
}
print("FOUND" + json.dumps(found, default=repr))
"""
LEAVE = """
import subprocess
code = "import os, time\\nif os.fork(): os._exit(0)\\nos.setsid()\\nopen('/tmp/left', 'w')\\ntime.sleep(600)"
subprocess.run([sys.executable, "-c", code])
open("/dev/shm/left", "w").write("x")
open(os.path.join(pwd.getpwuid(os.getuid()).pw_dir, "left"), "w").write("x")
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
for _ in range(3):
    segment = libc.shmat(libc.shmget(0, 8 << 20, 0o1600), None, 0)
    ctypes.memset(ctypes.c_void_p(segment), 1, 8 << 20)
deep = "/tmp/left-folder"
os.makedirs(deep)
os.chdir(deep)
for _ in range(1500):
    os.mkdir("left"); os.chdir("left")
os.chmod(deep, 0)
for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
    os.kill(1, number)
"""
BOMB = f"bomb = bytearray({4 * MEMORY}); bomb[::4096] = b'x' * len(bomb[::4096])"


def hand_in(student: Any, code: str) -> None:
    """Put ``code`` into every solution of the student's notebook and submit it."""
    script = (
        "import json, sys\n"
        "file, code = sys.argv[1:]\n"
        "book = json.load(open(file))\n"
        "for cell in book['cells']:\n"
        "    if cell['metadata'].get('nbgrader', {}).get('solution') and cell['cell_type'] == 'code':\n"
        "        cell['source'] = code\n"
        "json.dump(book, open(file, 'w'))\n"
    )
    assert student("python3", "-c", script, f"{HOME}/sorting.ipynb", code) == ""
    assert "Submitted as" in student("nbgrader", "submit", "week1")


def seen(ada: Any, student: str) -> dict[str, Any]:
    """What LOOK found in the submission of ``student``."""
    book = json.loads(ada("cat", f"/course/autograded/{student}/week1/sorting.ipynb"))
    outputs = [o for cell in book["cells"] for o in cell.get("outputs", ())]
    texts = ["".join(o["text"]) for o in outputs if o["output_type"] == "stream"]
    told = [line for text in texts for line in text.splitlines() if line.startswith("FOUND")]
    assert told, outputs
    answer: dict[str, Any] = json.loads(told[0].removeprefix("FOUND"))
    return answer


def test_students_code_meets_nothing_of_anybodys(servers: Servers) -> None:
    ada, maija, omar = (servers[name] for name in ("ada", "maija", "omar"))
    ada("sh", "-c", "mkdir /course/pymod; echo NAME = 5 > /course/pymod/helper.py")
    ada("sh", "-c", "umask 007; echo SECRET > /coursedata/exam-draft.txt")
    ada("nbgrader", "generate_assignment", "week1")
    ada("nbgrader", "release_assignment", "week1")
    for student in (maija, omar):
        student("nbgrader", "fetch_assignment", "week1")
    hand_in(maija, LOOK + LEAVE)
    hand_in(omar, LOOK)
    ada("nbgrader", "collect", "week1")
    said = ada("nbgrader", "autograde", "week1")
    assert "ERROR" not in said, said
    for student in ("maija", "omar"):  # in this order: what she leaves, he would find
        found = seen(ada, student)
        assert found["uid"] in GRADING_UIDS, "it tells nothing of who grades"
        assert found["gids"] == [20000], "without the group of the course"
        for name in ("notebooks", "places", "secrets", "written", "left", "ipc", "told"):
            assert found[name] == [], name
        assert found["name"][0::4][:2] == ["grader", "grader"], "name and full name"
        if AS_ROOT:  # an ordinary account has one UID
            assert found["draft"] == "PermissionError", "what she alone may read"
        assert found["gradebook"] == "FileNotFoundError"
        assert found["first"] == found["memory"] == "PermissionError"
        assert found["hub"] == found["runner"] == "ConnectionRefusedError"
        assert found["processes"] == [1, found["own"]]
        assert (found["data"], found["helper"], found["grading"]) == ("42", 5, "autograde")


def test_a_bomb_costs_its_own_submission(servers: Servers) -> None:
    ada = servers["ada"]
    hand_in(servers["omar"], BOMB)
    ada("nbgrader", "collect", "week1", "--update")
    said = ada("nbgrader", "autograde", "week1", "--student", "omar")
    if AS_ROOT:
        assert "used more memory" in said, said
    assert "Autograding" in ada("nbgrader", "autograde", "week1", "--student", "maija", "--force")
    assert seen(ada, "maija")["left"] == []


def test_a_notebook_has_a_time_of_its_own(servers: Servers) -> None:
    """A limit for each cell is none for a loop that many cells call; instructors set it."""
    ada = servers["ada"]
    ada("sh", "-c", f"echo c.Execute.notebook_timeout = 8 > {APPEND_FILE}")
    hand_in(servers["omar"], "import time; time.sleep(100)")
    ada("nbgrader", "collect", "week1", "--update")
    said = ada("nbgrader", "autograde", "week1", "--student", "omar", "--force")
    ada("rm", APPEND_FILE)
    assert "The kernel of the notebook ended: it ran for longer than 8 seconds" in said, said
    assert "not recognized" not in said
