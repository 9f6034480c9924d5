"""The first content of a course: copied from the site's folder into empty course directories."""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from courseyard.hints import is_full, system_says
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
                copied += _copy_whole(opened, source, target, course, mode, top)
        except RefusedFileError as error:
            raise walk.refused(target, f"cannot get its first files: one {error}") from error
        except OSError as error:
            why = f"cannot get its first files: {system_says(error)}"
            raise walk.refused(
                target, why, "make room there" if is_full(error) else "mend that"
            ) from error
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


def _copy_whole(root: int, source: Path, target: str, course: Course, mode: int, top: Path) -> int:
    """Copy all of it or, on a full disk, nothing: a folder with some of it gets no first files again."""
    made: list[tuple[str, str, bool]] = []
    try:
        _copy(root, source, target, course, mode, top, made)
    except OSError:
        for parent, name, is_folder in reversed(made):
            with suppress(OSError), walk.opened(root, parent) as folder:
                (os.rmdir if is_folder else os.unlink)(name, dir_fd=folder)
        raise
    return sum(not is_folder for _, _, is_folder in made)


def _copy(
    root: int,
    source: Path,
    target: str,
    course: Course,
    mode: int,
    top: Path,
    made: list[tuple[str, str, bool]],
) -> None:
    """Copy what is in a folder; ``made`` gets place, name and whether it is a folder of all that is new."""
    with walk.opened(root, target) as folder:
        for item in sorted(source.iterdir()):
            found = item.lstat().st_mode
            if stat.S_ISDIR(found):
                if _make_folder(folder, item.name, course, mode):
                    made.append((target, item.name, True))
                _copy(root, item, f"{target}/{item.name}", course, mode, top, made)
            elif stat.S_ISREG(found):
                new = (target, item.name, False)
                _copy_file(folder, item, course, mode, top, made, new)


def _make_folder(folder: int, name: str, course: Course, mode: int) -> bool:
    """Whether it was made here."""
    try:
        os.mkdir(name, 0o700, dir_fd=folder)
    except FileExistsError:
        return False
    number = os.open(name, _LIST, dir_fd=folder)
    try:
        if not walk.is_new(number):
            return False  # somebody put theirs there in the meantime: it is not ours to give away
        _own(number, course)
        os.fchmod(number, 0o2770 if mode == 0o660 else 0o2775)
    finally:
        os.close(number)
    return True


def _copy_file(
    folder: int,
    item: Path,
    course: Course,
    mode: int,
    top: Path,
    made: list[tuple[str, str, bool]],
    new: tuple[str, str, bool],
) -> None:
    """Copy one file; ``made`` gets ``new`` once it is there, before it is filled."""
    with (
        opened_inside(item, within=top) as found,
        open(found, "rb", closefd=False) as source,
    ):
        try:
            number = os.open(item.name, _MAKE, 0o600, dir_fd=folder)
        except FileExistsError:
            return
        made.append(new)
        with os.fdopen(number, "wb") as file:
            shutil.copyfileobj(source, file)
            file.flush()
            _own(number, course)
            os.fchmod(number, mode)


def _own(number: int, course: Course) -> None:
    if os.geteuid() == 0:
        os.fchown(number, course.uid, course.gid or 0)
