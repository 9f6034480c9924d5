"""The first content of a course: copied from the site's folder into empty course directories."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from courseyard.inside import RefusedFileError, opened_inside
from courseyard.registry.course import Course
from courseyard.storage import layout, walk

_MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def seed(site_folder: Path, root: Path, course: Course, *, dry_run: bool = False) -> int:
    """Copy ``<site>/course/<slug>/{files,data}``; how many files were copied (or would be).

    Only where ``source/`` (or ``data/``) of the course is still empty, so that nothing that a
    teacher changed or deleted comes back. Links are not copied, and none leads out of
    ``<site>/course/<slug>``.

    Raises:
        StorageError: something stands in the way.
    """
    if course.gid is None or course.coursedir_slug:
        return 0
    top = site_folder / "course" / course.slug
    files, data = layout.files(course.slug), layout.data(course.slug)
    copied = 0
    for source, target, sign, mode in (
        (top / "files", files, f"{files}/source", 0o660),
        (top / "data", data, data, 0o664),
    ):
        if not source.is_dir() or top.is_symlink():
            continue
        try:
            # In a dry run the folders that are missing would have been made before.
            missing = dry_run and (course.datadir or target == files)
            if not _is_empty(root, sign, missing=missing):
                continue
            if dry_run:
                copied += _count(source)
                continue
            with walk.opened_root(root) as opened:
                copied += sum(_copy(opened, source, target, course, mode, top))
        except RefusedFileError as error:
            raise walk.refused(target, f"cannot get its first files: one {error}") from error
        except OSError as error:
            what = f"cannot get its first files: {error.filename}: {error.strerror}"
            raise walk.refused(target, what) from error
    return copied


def _is_empty(root: Path, path: str, *, missing: bool) -> bool:
    """Whether the folder holds nothing of the course; ``missing``: and when it is not there."""
    if missing and not root.exists():
        return True
    try:
        with walk.opened_root(root) as top, walk.opened(top, path) as folder:
            listed = os.open(".", _LIST, dir_fd=folder)
    except FileNotFoundError:
        return missing
    try:
        return set(os.listdir(listed)) <= {layout.USERS}  # noqa: PTH208  (a descriptor)
    finally:
        os.close(listed)


def _count(source: Path) -> int:
    """Files that would be copied."""
    modes = (path.lstat().st_mode for path in source.rglob("*"))
    return sum(stat.S_ISREG(mode) for mode in modes)


def _copy(
    root: int, source: Path, target: str, course: Course, mode: int, top: Path
) -> Iterator[int]:
    with walk.opened(root, target) as folder:
        for item in sorted(source.iterdir()):
            found = item.lstat().st_mode
            if stat.S_ISDIR(found):
                _make_folder(folder, item.name, course, mode)
                yield from _copy(root, item, f"{target}/{item.name}", course, mode, top)
            elif stat.S_ISREG(found):
                yield _copy_file(folder, item, course, mode, top)


def _make_folder(folder: int, name: str, course: Course, mode: int) -> None:
    try:
        os.mkdir(name, 0o700, dir_fd=folder)
    except FileExistsError:
        return
    number = os.open(name, _LIST, dir_fd=folder)
    try:
        if not walk.is_new(number):
            return  # somebody put theirs there in the meantime: it is not ours to give away
        _own(number, course)
        os.fchmod(number, 0o2770 if mode == 0o660 else 0o2775)
    finally:
        os.close(number)


def _copy_file(folder: int, item: Path, course: Course, mode: int, top: Path) -> int:
    with (
        opened_inside(item, within=top) as found,
        open(found, "rb", closefd=False) as source,
    ):
        try:
            number = os.open(item.name, _MAKE, 0o600, dir_fd=folder)
        except FileExistsError:
            return 0
        with os.fdopen(number, "wb") as file:
            shutil.copyfileobj(source, file)
            file.flush()
            _own(number, course)
            os.fchmod(number, mode)
    return 1


def _own(number: int, course: Course) -> None:
    if os.geteuid() == 0:
        os.fchown(number, course.uid, course.gid or 0)
