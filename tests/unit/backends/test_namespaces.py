"""The words of bubblewrap for a plan: pure, so looked at as a list."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from courseyard.backends import beside, identity
from courseyard.backends.sandbox import image, namespaces, system
from courseyard.errors import UnsupportedError
from courseyard.plan.grading import nobodys
from courseyard.plan.model import Grading

IMAGE = image.Image(
    python="/root/images/py/bin/python", folders=("/root/python3", "/root/images/py")
)
SYSTEM = system.System(
    (("/usr", "/usr"), ("/etc/ssl/certs", "/etc/ssl/certs")), (("usr/bin", "/bin"),)
)
OURS = namespaces.Programs("/x/singleuser", "/x/become.py")


def words(plan: Any, *, real_ids: bool = True) -> list[namespaces.Word]:
    return namespaces.words(plan, SYSTEM, IMAGE, OURS, real_ids=real_ids)


def after(found: list[namespaces.Word], *wanted: object) -> int:
    """Position of ``wanted`` as neighbours."""
    for i in range(len(found)):
        if tuple(found[i : i + len(wanted)]) == wanted:
            return i
    raise AssertionError(f"{wanted} is not there")


def test_every_mount_with_its_rights(make_plan: Callable[..., Any]) -> None:
    for role in ("general", "student", "instructor"):
        plan = make_plan(role)
        found = words(plan)
        for mount in plan.mounts:
            bind = "--bind" if mount.writable else "--ro-bind"
            after(found, bind, namespaces.Source(mount.source), mount.target)


def test_parents_of_private_images_are_passable(make_plan: Callable[..., Any]) -> None:
    found = words(make_plan())
    made = after(found, "--perms", "0755", "--dir", "/root")
    assert made < after(found, "--ro-bind", "/root/python3", "/root/python3")
    assert made < after(found, "--ro-bind", "/root/images/py", "/root/images/py")


def test_every_tmpfs_has_a_size(make_plan: Callable[..., Any]) -> None:
    found = words(make_plan())
    for i, word in enumerate(found):
        if word == "--tmpfs":
            assert found[i - 2] == "--size"


def test_root_and_dev_end_read_only(make_plan: Callable[..., Any]) -> None:
    assert words(make_plan())[-4:] == ["--remount-ro", "/dev", "--remount-ro", "/"]


def test_namespaces_of_root_and_of_a_user(make_plan: Callable[..., Any]) -> None:
    root, user = words(make_plan()), words(make_plan(), real_ids=False)
    for found in (root, user):
        for name in ("pid", "ipc", "uts", "net"):
            assert f"--unshare-{name}" in found
        assert "--share-net" not in found
        assert "--die-with-parent" not in found
        assert "--clearenv" in found
    assert "--unshare-user" not in root
    after(user, "--uid", "20101")
    assert "--cap-add" not in user


def test_no_secret_and_no_environment(make_plan: Callable[..., Any]) -> None:
    assert "--setenv" not in words(make_plan())


@pytest.mark.parametrize(
    "target", ["/", "/etc/x", "/usr", "/home/alice/x", "/home", "/root", "/root/python3/x", "/notebooks",
               "/notebooks/sub", "x", "/a//b", "/a/../b"],
)  # fmt: skip
def test_target_that_is_taken(make_plan: Callable[..., Any], target: str) -> None:
    plan = make_plan()
    more = plan.mounts[2].model_copy(update={"target": target})
    with pytest.raises(UnsupportedError):
        words(plan.model_copy(update={"mounts": (*plan.mounts, more)}))


def test_the_same_folder_with_other_rights_may_lie_inside(make_plan: Callable[..., Any]) -> None:
    plan = make_plan()
    part = plan.mounts[0].model_copy(
        update={"target": "/coursedata/users/alice", "source": "course/algo/data/users/alice"}
    )
    found = words(plan.model_copy(update={"mounts": (*plan.mounts, part)}))
    assert "/coursedata/users" not in found
    after(
        found,
        "--bind",
        namespaces.Source("course/algo/data/users/alice"),
        "/coursedata/users/alice",
    )


def test_names_cannot_add_accounts(make_plan: Callable[..., Any]) -> None:
    who = make_plan().identity.model_copy(update={"full_name": "A\nroot2:x:0:0::/:/bin/sh\x00"})
    lines = identity.passwd(who).splitlines()
    assert len(lines) == 3
    assert [line.split(":")[2] for line in lines] == ["0", "20101", "65534"]
    assert identity.passwd(who).count(":") == 18


def test_one_line_for_each_group(make_plan: Callable[..., Any]) -> None:
    lines = identity.group(make_plan("instructor").identity).splitlines()
    assert "jupyter-algo:x:20500:alice" in lines
    assert "users:x:20000:alice" in lines
    gids = [line.split(":")[2] for line in lines]
    assert len(gids) == len(set(gids))


def test_image_with_a_private_base_python(tmp_path: Path) -> None:
    base = tmp_path / "python-3.12.1"
    (base / "bin").mkdir(parents=True)
    (base / "bin" / "python3").write_text("#!/bin/sh\n")
    (base / "bin" / "python3").chmod(0o755)
    (tmp_path / "python-3.12").symlink_to(base)
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(tmp_path / "python-3.12" / "bin" / "python3")
    (venv / "pyvenv.cfg").write_text(f"home = {tmp_path}/python-3.12/bin\n")
    found = image.examine(venv)
    assert found.folders == (str(tmp_path / "python-3.12"), str(base), str(venv))
    assert found.python == str(venv / "bin" / "python")


def test_image_of_the_systems_python(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to("/usr/bin/python3")
    (tmp_path / "pyvenv.cfg").write_text("home = /usr/bin\n")
    assert image.examine(tmp_path).folders == (str(tmp_path),)


def test_image_as_a_tree(tmp_path: Path) -> None:
    (tmp_path / "usr" / "bin").mkdir(parents=True)
    (tmp_path / "usr" / "bin" / "python3").symlink_to("python3.12")
    (tmp_path / "bin").symlink_to("usr/bin")
    (tmp_path / "etc").mkdir()
    for name in ("passwd", "shadow", "os-release", "resolv.conf"):
        (tmp_path / "etc" / name).write_text("")
    found = image.examine(tmp_path)
    assert found.root == str(tmp_path)
    assert found.python == "/usr/bin/python3"
    view = system.of_tree(tmp_path)
    assert ("usr/bin", "/bin") in view.links
    assert [path for _, path in view.binds] == ["/usr", "/etc/os-release"]


@pytest.mark.parametrize("make", [lambda p: None, lambda p: (p / "pyvenv.cfg").write_text("")])
def test_no_image(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path)
    with pytest.raises(UnsupportedError) as caught:
        image.examine(tmp_path)
    assert str(tmp_path) not in str(caught.value)


def test_graded_code_is_told_nobodys_name(make_plan: Callable[..., Any]) -> None:
    """The files that are made inside, beside a server's: those hold the instructor's name."""
    plan = make_plan("instructor")
    inner = Grading(identity=nobodys(plan.identity), mounts=(), environment={})
    plan = plan.model_copy(update={"grading": inner})

    def told(first: bool) -> str:
        found = namespaces.words(
            beside.plan_of(plan, "x") if first else plan,
            SYSTEM, IMAGE, OURS, real_ids=True, first=first,
        )  # fmt: skip
        files = [word.content.decode() for word in found if isinstance(word, namespaces.Data)]
        return "\n".join(files) + " ".join(word for word in found if isinstance(word, str))

    for name in (plan.identity.username, plan.identity.full_name, plan.identity.email):
        assert name in told(False)
        assert name not in told(True)
    assert namespaces.PLAN_FILE not in told(True)
