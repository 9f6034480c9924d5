"""The first content of a course: copied from the site's folder into empty course directories."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from courseyard.errors import StorageError
from courseyard.registry.course import Course
from courseyard.storage import layout, walk

_MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def seed(site_folder: Path, root: Path, course: Course) -> int:
    """Copy ``<site>/course/<slug>/{files,data}``; how many files were copied.

    Only where ``source/`` (or ``data/``) of the course is still empty, so that nothing that a
    teacher changed or deleted comes back. Links are not copied and not followed.

    Raises:
        StorageError: something that is not a folder stands in the way.
    """
    if course.gid is None or course.coursedir_slug:
        return 0
    top = site_folder / "course" / course.slug
    copied = 0
    for source, target, sign in (
        (top / "files", layout.files(course.slug), layout.files(course.slug) + "/source"),
        (top / "data", layout.data(course.slug), layout.data(course.slug)),
    ):
        if source.is_dir():
            with walk.opened_root(root) as opened:
                if _is_empty(opened, sign):
                    inside = 0o660 if source.name == "files" else 0o664
                    copied += sum(_copy(opened, source, target, course, inside))
    return copied


def _is_empty(root: int, path: str) -> bool:
    """Whether the folder is there and holds nothing."""
    try:
        with walk.opened(root, path) as folder:
            listed = os.open(".", _LIST, dir_fd=folder)
    except FileNotFoundError:
        return False
    try:
        return not os.listdir(listed)  # noqa: PTH208  (a descriptor)
    finally:
        os.close(listed)


def _copy(root: int, source: Path, target: str, course: Course, mode: int) -> Iterator[int]:
    with walk.opened(root, target) as folder:
        for item in sorted(source.iterdir()):
            found = item.lstat().st_mode
            if stat.S_ISDIR(found):
                _make_folder(folder, item.name, course, mode)
                yield from _copy(root, item, f"{target}/{item.name}", course, mode)
            elif stat.S_ISREG(found):
                yield _copy_file(folder, item, course, mode)


def _make_folder(folder: int, name: str, course: Course, mode: int) -> None:
    try:
        os.mkdir(name, 0o700, dir_fd=folder)
    except FileExistsError:
        return
    number = os.open(name, _LIST, dir_fd=folder)
    try:
        _own(number, course)
        os.fchmod(number, 0o2770 if mode == 0o660 else 0o2775)
    finally:
        os.close(number)


def _copy_file(folder: int, item: Path, course: Course, mode: int) -> int:
    try:
        number = os.open(item.name, _MAKE, 0o600, dir_fd=folder)
    except FileExistsError:
        return 0
    except OSError as error:
        raise StorageError(
            "The first files of a course cannot be copied.", detail=f"{item}: {error.strerror}"
        ) from error
    with os.fdopen(number, "wb") as file, item.open("rb") as source:
        shutil.copyfileobj(source, file)
        file.flush()
        _own(number, course)
        os.fchmod(number, mode)
    return 1


def _own(number: int, course: Course) -> None:
    if os.geteuid() == 0:
        os.fchown(number, course.uid, course.gid or 0)
