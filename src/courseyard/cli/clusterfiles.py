"""The files of a site in a cluster: what `kubectl apply -k` takes, and the site file for it."""

from __future__ import annotations

import re
import secrets
import shutil
from importlib import resources
from pathlib import Path

from courseyard.errors import SettingsError
from courseyard.networks import parse_network
from courseyard.settings import KubernetesSettings
from courseyard.yamlfile import read_bytes

_MARK = "      # courses\n"
_DEFAULT = KubernetesSettings().namespace
#: The name where it is a value or the beginning of ours; never in a label's key or an image's name.
_NAME = re.compile(rf"(?<=: ){_DEFAULT}(?=[\s,}}\]]|$)|{_DEFAULT}(?=-users\b|-users-storage\b)")
#: Whom the proxies of a cluster trust: an argument of Traefik's, for which its manifest is the place.
TRUST = "--entrypoints.web.forwardedheaders.trustedips="
_TRUST = re.compile(rf"^[^#\n]*{re.escape(TRUST)}([0-9a-f.:/,]+)", re.MULTILINE | re.IGNORECASE)
_PLAIN = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,50}[a-z0-9])?")


def manifests() -> Path:
    """``deploy/kubernetes``: of the installed package, or of the checkout."""
    package = Path(str(resources.files("courseyard")))
    packaged = package / "_kubernetes"
    return packaged if packaged.is_dir() else package.parents[1] / "deploy" / "kubernetes"


def add(folder: Path, namespace: str) -> None:
    """Make the site in ``folder`` one for a cluster.

    Args:
        folder: a copy of the example university, or an empty site.
        namespace: of hub and proxy; servers get ``<namespace>-users``.

    Raises:
        SettingsError: the name is not one that a cluster takes, or the manifests are missing.
    """
    if not _PLAIN.fullmatch(namespace):
        raise SettingsError(
            f"{namespace!r} is no name of a namespace.",
            "Write up to 52 small letters, digits and dashes, such as physics.",
        )
    source = manifests()
    if not (source / "base").is_dir():
        raise SettingsError("This installation lacks the manifests.", "Install Courseyard again.")
    for part in ("base", "overlays"):
        shutil.copytree(source / part, folder / "kubernetes" / part, copy_function=shutil.copyfile)
    for file in ("courseyard.yaml", "kustomization.yaml"):
        shutil.copyfile(source / "site" / file, folder / file)
    _list_courses(folder)
    if namespace != _DEFAULT:
        for path in (*folder.glob("*.yaml"), *folder.glob("kubernetes/**/*.yaml")):
            _rename(path, namespace)
    token = folder / "secrets" / "routes-token"
    token.parent.mkdir(mode=0o700)
    token.write_text(secrets.token_hex(32), encoding="ascii")


def trusted_proxies(folder: Path) -> frozenset[str]:
    """The networks that the manifests of the site in ``folder`` let its proxies trust.

    Raises:
        ValueError: something else stands there.
        SettingsError: a manifest cannot be read.
    """
    files = (folder / "kustomization.yaml", *sorted(folder.glob("kubernetes/**/*.yaml")))
    found = [_TRUST.search(read_bytes(file).decode()) for file in files]
    return frozenset(
        parse_network(each) for match in found if match for each in match[1].split(",")
    )


def close_secrets(folder: Path) -> None:
    """For the account that made the site alone; the map of secrets takes a file without anyone too."""
    passwords = folder / "passwords.yaml"
    if not passwords.exists():
        passwords.write_text("{}\n", encoding="ascii")
    passwords.chmod(0o600)
    for file in (folder / "secrets").iterdir():
        file.chmod(0o600)
    (folder / "secrets").chmod(0o700)


def _list_courses(folder: Path) -> None:
    file = folder / "kustomization.yaml"
    names = sorted(path.name for path in (folder / "courses").glob("*.yaml"))
    listed = "".join(f"      - courses/{name}\n" for name in names)
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace(_MARK, listed or "      []\n"), encoding="utf-8")


def _rename(file: Path, namespace: str) -> None:
    text = file.read_text(encoding="utf-8")
    renamed = _NAME.sub(namespace, text)
    # Volumes have no namespace: two sites in a cluster need names of their own.
    renamed = renamed.replace(f"/srv/{_DEFAULT}-storage", f"/srv/{namespace}-storage")
    renamed = re.sub(
        rf"(kind: PersistentVolume\nmetadata:\n  name: ){_DEFAULT}-storage",
        rf"\g<1>{namespace}-storage", renamed,
    )  # fmt: skip
    renamed = renamed.replace(f"volumeName: {_DEFAULT}-storage", f"volumeName: {namespace}-storage")
    file.write_text(renamed, encoding="utf-8")
