"""``courseyard init``: a new site, with comments in its files."""

from __future__ import annotations

import re
import shlex
import shutil
import tempfile
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from courseyard.cli import clusterfiles, output, passwords, prepull
from courseyard.cli.sites import open_site
from courseyard.errors import SettingsError
from courseyard.hints import make_room, reason
from courseyard.people.static import load_people
from courseyard.settings import HubSettings, KubernetesSettings
from courseyard.sitefile import load_site

#: What a run leaves in a site folder; never part of a new one.
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "state", "storage", "passwords.yaml", ".*")
#: Parts of the example that belong to its courses.
_DEMO_ONLY = ("courses", "course")
_IGNORED = (
    "state/\nstorage/\npasswords.yaml\nsecrets/\ntls/\nimages/*\n!images/*.in\n!images/*.txt\n"
)
_NOBODY = """\
# The people of this site: username → uid, gid, name, email, groups.
# A real university takes them from its own directory (people.source: nss).
groups:
  users: 20000

people: {}
"""


def init(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="The folder to make; empty or not there yet.", show_default=False
        ),
    ],
    empty: Annotated[
        bool, typer.Option("--empty", help="No example courses, people or assignments.")
    ] = False,
    kubernetes: Annotated[
        bool, typer.Option("--kubernetes", help="A site for a cluster, with its manifests.")
    ] = False,
    namespace: Annotated[
        str, typer.Option("--namespace", help="Its namespace in the cluster.")
    ] = KubernetesSettings().namespace,
    port: Annotated[
        int | None,
        typer.Option("--port", min=1, max=65532, help="The port of its address; 8000 by default."),
    ] = None,
) -> None:
    """Make a new site: the example university, or an empty one."""
    make_site(folder, empty=empty, namespace=namespace if kubernetes else "", port=port)
    output.line(f"Made {folder}. Look at its courseyard.yaml and courses/, then start it:")
    command = "kubectl apply -k" if kubernetes else "courseyard up"
    output.line(f"  {command} {shlex.quote(str(folder))}")


def example() -> Path:
    """The example university: of the installed package, or of the checkout."""
    package = Path(str(resources.files("courseyard")))
    packaged = package / "_university"
    return packaged if packaged.is_dir() else package.parents[1] / "examples" / "university"


def make_site(
    folder: Path, *, empty: bool = False, namespace: str = "", port: int | None = None
) -> None:
    """Make the site ``folder``; all of it or nothing.

    Args:
        folder: not there yet, or empty.
        empty: no example courses, people or assignments.
        namespace: in a cluster; "" for a site on one machine.
        port: ``hub.port``; the example's own by default.

    Raises:
        SettingsError: something is there already, or the place cannot be written.
    """
    folder = folder.absolute()
    _refuse_used(folder)
    source = example()
    if not (source / "courseyard.yaml").is_file():
        raise SettingsError(
            "This installation lacks the example university.",
            "Install Courseyard again.",
            detail=str(source),
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise _not_writable(folder.parent, error) from error
    try:
        _fill(source, scratch / "site", empty=empty, namespace=namespace, port=port)
        # An empty folder is replaced; rename refuses one that somebody filled meanwhile.
        (scratch / "site").rename(folder)
    except OSError as error:
        raise _not_writable(folder, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _refuse_used(folder: Path) -> None:
    if (folder / "courseyard.yaml").exists():
        raise SettingsError(
            f"There is a site in {folder} already.",
            f"Start it with `courseyard up {shlex.quote(str(folder))}`, or choose another folder.",
        )
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise SettingsError(f"{folder} is there already and is no folder.", "Choose another one.")
    if folder.is_dir() and any(folder.iterdir()):
        raise SettingsError(f"{folder} is not empty.", "Choose a new or an empty folder.")


def _not_writable(folder: Path, error: OSError) -> SettingsError:
    return SettingsError(
        f"{folder} cannot be made: {reason(error)}.",
        make_room(error, "Choose a place that you may write to."),
    )


def _fill(source: Path, folder: Path, *, empty: bool, namespace: str, port: int | None) -> None:
    # Without the source's modes: an installed package may be read-only.
    shutil.copytree(
        source, folder, ignore=_left_out(source / "images"), copy_function=shutil.copyfile
    )
    if empty:
        for name in _DEMO_ONLY:
            shutil.rmtree(folder / name, ignore_errors=True)
        (folder / "courses").mkdir()
        (folder / "people.yaml").write_text(_NOBODY, encoding="utf-8")
    if namespace:
        clusterfiles.add(folder, namespace)
    if port is not None:
        _set_port(folder / "courseyard.yaml", port)
    if empty:
        _name_nobody(folder / "courseyard.yaml")
    if namespace:
        prepull.write(open_site(folder))
    (folder / ".gitignore").write_text(_IGNORED, encoding="utf-8")
    # Every account reads it (the hub has one of its own), whatever the umask here.
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    if namespace:
        clusterfiles.close_secrets(folder)
    site = load_site(folder)
    passwords.complete(folder, load_people(site.path(site.people.file), site.people))


def _left_out(images: Path) -> Callable[[str, list[str]], set[str]]:
    """What is not copied: leftovers of a run, and images that were built in the example."""

    def names(folder: str, inside: list[str]) -> set[str]:
        built = {n for n in inside if Path(folder) == images and (images / n).is_dir()}
        return built | set(_LEFT_OUT(folder, inside))

    return names


def _set_port(site_file: Path, port: int) -> None:
    """Write ``hub.port``, with the comments around it as they are."""
    text = site_file.read_text(encoding="utf-8")
    old = str(HubSettings().port)
    changed = re.sub(
        r"^(  port:.*)$", lambda line: line[1].replace(old, str(port)), text, flags=re.MULTILINE
    )
    site_file.write_text(changed, encoding="utf-8")


def _name_nobody(site_file: Path) -> None:
    """Name nobody as administrator or test student of an empty site."""
    lines = site_file.read_text(encoding="utf-8").splitlines(keepends=True)
    for number, text in enumerate(lines):
        key = text.strip().partition(":")[0]
        if key in ("administrators", "test_students"):
            lines[number] = f"{text[: len(text) - len(text.lstrip())]}{key}: []\n"
    site_file.write_text("".join(lines), encoding="utf-8")
