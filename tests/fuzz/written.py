"""Files as people and editors write them: good ones, and good ones damaged in every way we know."""

from __future__ import annotations

import re

from hypothesis import strategies as st

COURSE = """\
name: Data Structures and Algorithms
uid: 21000
gid: 21001
supervisor: ada@example.org
contact: [ada, help@example.org]
manager: [tomas]
instructors: [ada, tomas]
students:
  - maija
  - otso
  - aino
private: false
public_date: 2026-09-01
archive_date: 2027-02-01 12:00:00
course_times:
  - {day: Mon, from: "10:15", to: "12:00"}
datadir: true
datadir_readwrite: false
restrict_submit: true
image: [DEFAULT, 2026-08-15]
image_instructor: DEFAULT
kubespawner_override:
  mem_limit: 7G
  cpu_limit: 2
  environment: {MARK: "x"}
  node_selector:
    disk: ssd
  tolerations:
    - {key: gpu, operator: Exists}
  cull_max_age: 8h
jupyterlab: true
nbgrader_config: |
  c = get_config()
  c.Exchange.x = 1
student_umask: "0027"
create_userdata: true
extra_student_groups: [[project, 22001]]
x-own: &own {anything: [1, 2.5, null]}
x-more: {<<: *own, b: 1}
"""
USERS = "instructors: [ada]\nstudents:\n- maija\n- otso\n"
IMAGES = """\
families:
  DEFAULT:
    title: Python
    prepull: true
    releases:
      2026-08-15: {path: images/python, reference: site/python:2026-08}
      2026-09-01:
  R:
    releases:
      2026-01-01: {}
"""
PEOPLE = """\
groups:
  jupyter-algo: 30001
people:
  maija:
    uid: 21001
    name: Maija Meikäläinen
    email: maija@example.org
    groups: [jupyter-algo]
  olli: {uid: 21002, gid: 20500}
"""
SITE = """\
name: Example University
contact: help@example.org
timezone: Europe/Helsinki
storage: {root: storage, public_root: /m/uni, home_links: [.julia/]}
people:
  source: static
  administrators: [ada]
  test_students: [testi]
  users_group: {name: users, gid: 20000}
environments:
  python: {name: Python, image: DEFAULT}
  r: {name: R, image: [R, 2026-09-01], jupyterlab: false}
servers:
  mem_limit: 3G
  cpu_limit: 500m
  cull_max_age: 1h 30m
  environment: {A: "1"}
  allow_override: [scheduler_name]
hub:
  port: 8000
  authenticator_options: {DemoAuthenticator: {trait: 1}}
proxy: {login_rate: 20, trusted_proxies: [192.0.2.0/28]}
backend: sandbox
kubernetes: {namespace: courseyard, tolerations: [{key: a}]}
x-own: {anything: 1}
"""
#: What an editor, a copy, a merge or somebody clever puts into a file.
PIECES = [
    *("\t", "\r", "\r\n", "\n", "\x00", "\ufeff", "\x85", "\u2028", "\u2029", "\x0b", "\x0c", "\x1b[2J"),
    *("&own ", "*own", "x-b: &own {a: 1}\n", "&a ", "*a", "*a\n", "<<: *a\n", "<<: [*a, *a]\n", "<<: 1\n", "? ", "? [a]\n: b\n", "!!str "),
    *("!!python/object/apply:os.system [id]", "---\n", "...\n", "%YAML 1.1\n---\n", "# x\n", "- "),
    *(": ", ":", "{", "}", "[", "]", ",", "|", ">", "|2-\n", "'", '"', "\\", "\\x00", '"\\ud800"'),
    *("@", "`", "~", "null", "yes", "0x1F", "0o17", ".inf", ".nan", "1e999", "1" * 5000, "-1"),
    *("2026-02-30", "9999-12-31", "0001-01-01", "2026-09-01 25:00:00", "2026-09-01T00:00:00+23:59"),
    *("[" * 60, "{a: " * 60, "- " * 60, "a" * 3000, "é" * 300, "😀", "\u202e", "\u200d", "１２", "..", "/"),
    *("name: x\n", "gid: 21001\n", "root", "students: [root]\n", "uid: 0\n", "x-a: &b [*b]\n"),
    *("${HOME}", "{{7*7}}", "<script>", "\ud7ff", "\U0010ffff", "''", "null: null\n", "true: 1\n"),
]  # fmt: skip
BYTES = [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xfe\xff", b"\xff\xfe", b"\xe9", b"\x80" * 9]


@st.composite
def damaged(draw: st.DrawFn, good: str) -> bytes:
    """``good``, changed at a few places."""
    source = good.encode()
    for _ in range(draw(st.integers(1, 5))):
        piece = draw(
            st.sampled_from(PIECES).map(str.encode) | st.sampled_from(BYTES) | st.binary(max_size=6)
        )
        way = draw(st.sampled_from(("insert", "line", "value", "cut", "twice", "indent", "ends")))
        at = draw(st.integers(0, len(source)))
        lines = source.split(b"\n")
        row = draw(st.integers(0, len(lines) - 1))
        if way == "insert":
            source = source[:at] + piece + source[at:]
        elif way == "cut":
            source = source[:at] + source[at + draw(st.integers(1, 40)) :]
        elif way == "ends":
            source = source.replace(b"\n", draw(st.sampled_from((b"\r\n", b"\r", b"\n\n"))))
        else:
            if way == "line":
                lines.insert(row, piece)
            elif way == "twice":
                lines.insert(row, lines[row])
            elif way == "indent":
                lines[row] = b" " * draw(st.integers(1, 6)) + lines[row]
            else:
                lines[row] = lines[row].split(b":")[0] + b": " + piece
            source = b"\n".join(lines)
    return source


def lines_of(source: bytes) -> int:
    """How many lines an editor shows: breaks are LF, CR LF and CR, nothing else."""
    return len(re.split(rb"\r\n|\n|\r", source))
