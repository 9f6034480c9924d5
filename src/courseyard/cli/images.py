"""``courseyard images``: the software of servers on this machine."""

from __future__ import annotations

import hashlib
import os
import shutil
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from courseyard.cli import imagechecks, output, prepull
from courseyard.cli.sites import HERE, SiteArgument
from courseyard.errors import ImageError
from courseyard.images.build import build_image, is_built, lock_file
from courseyard.images.catalog import ImageCatalog, Release, load_catalog
from courseyard.sitefile import load_site

#: A folder that several sites share: an image is built there once, and each site links to it.
STORE = "COURSEYARD_IMAGE_STORE"

app = typer.Typer(help="Software images.", no_args_is_help=True)


@app.callback()
def _images() -> None:
    """Software images."""


@app.command("build")
def build(
    site: SiteArgument = HERE,
    force: Annotated[bool, typer.Option("--force", help="Build again what is there.")] = False,
) -> None:
    """Build the images that have a lock file beside their folder.

    With COURSEYARD_IMAGE_STORE set to a folder, they are built there once for several sites,
    and the site gets links.
    """
    catalog = load_catalog(load_site(site))
    wished = buildable(catalog)
    if not wished:
        output.note("No image of this site has a lock file; nothing to build.")
    for path in wished:
        fresh = build_one(path, force=force)
        output.line(f"{path}: {'built' if fresh else 'is there already'}")


@app.command("list")
def show(
    site: SiteArgument = HERE,
    as_json: Annotated[bool, typer.Option("--json", help="A list for programs.")] = False,
) -> None:
    """List families and their releases, newest first."""
    catalog = load_catalog(load_site(site))
    releases = [release for family in catalog.families.values() for release in family]
    releases.sort(key=lambda r: (r.family, -(r.released or date.min).toordinal()))
    rows = [
        {
            "family": release.family,
            "released": str(release.released),
            "title": release.title,
            "reference": release.reference,
            "path": str(release.path) if release.path else None,
            "state": _state(release),
        }
        for release in releases
    ]
    if as_json:
        output.print_json(rows)
        return
    columns = ("family", "released", "title", "reference", "state")
    output.table(columns, [[str(row[column]) for column in columns] for row in rows])


app.command("check")(imagechecks.check)
app.command("prepull")(prepull.prepull)


def _state(release: Release) -> str:
    if release.path is None:
        return "not on this machine"
    return "built" if release.path.is_dir() else "not built"


def buildable(catalog: ImageCatalog) -> list[Path]:
    """Folders of releases with a lock file, each once."""
    paths = {release.path for family in catalog.families.values() for release in family}
    return sorted(path for path in paths if path is not None and lock_file(path).is_file())


def build_missing(catalog: ImageCatalog) -> None:
    """Build what is not there yet.

    Raises:
        ImageError: one cannot be built.
    """
    for path in buildable(catalog):
        build_one(path)


def build_one(path: Path, *, force: bool = False) -> bool:
    """Build the image ``path`` with a bar; whether there was anything to do.

    Raises:
        ImageError: it cannot be built.
    """
    if is_built(path) and not force:
        return False
    target = _place(path)
    if not is_built(target) or force:
        with output.progress(f"Building {path.name}") as tell:
            build_image(target, tell, force=force)
    if target != path:
        _link(path, target)
    return True


def _place(path: Path) -> Path:
    """Where ``path`` is really built: in the shared store under its lock file's name, or there."""
    store = os.environ.get(STORE, "")
    if not store:
        return path
    lock = lock_file(path)
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    target = Path(store).absolute() / f"{path.name}-{digest}"
    if not is_built(target):
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        shutil.copyfile(lock, lock_file(target))
    return target


def _link(path: Path, target: Path) -> None:
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        raise ImageError(
            f"{path} is there but was not made from the lock file beside it.",
            "Move it away, and build again.",
        )
    path.symlink_to(target, target_is_directory=True)
