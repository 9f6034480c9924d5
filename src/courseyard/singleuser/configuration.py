"""Jupyter's and nbgrader's configuration of one server, written as data.

Everything goes to ``~/.courseyard/jupyter``, which ``JUPYTER_CONFIG_PATH`` puts before all other
folders, so that terminals and kernels see the same nbgrader as the pages do. No value ever becomes
Python source, but for the lines that administrators write in a course file.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

#: nbgrader's parts: the plan's switch, the server extension, the labextension's plugins.
PARTS = {
    "formgrader": ("nbgrader.server_extensions.formgrader", ("formgrader",)),
    "assignment_list": ("nbgrader.server_extensions.assignment_list", ("assignment-list",)),
    "validate_assignment": (
        "nbgrader.server_extensions.validate_assignment",
        ("validate-assignment",),
    ),
    "create_assignment": ("", ("create-assignment",)),
}
#: The package that nbgrader_config.py imports.
NBGRADER = "courseyard_nbgrader"
#: JupyterLab's defaults, which a person may change; what is typed and not saved is lost with the tab.
SETTINGS = {"@jupyterlab/docmanager-extension:plugin": {"autosaveInterval": 30}}  # seconds, of 120
#: nbconvert's exporters → the programs and modules that they start.
EXPORTERS = {
    "LatexExporter": ("pandoc",),
    "ASCIIDocExporter": ("pandoc",),
    "RSTExporter": ("pandoc",),
    "PDFExporter": ("pandoc", "xelatex"),
    "WebPDFExporter": ("playwright",),
    "QtPDFExporter": ("PyQt5",),
    "QtPNGExporter": ("PyQt5",),
}
#: Mounts that nbgrader works with, and nobody else.
_NOT_FILES = "srv/nbgrader/"
_COMPILED = shutil.ignore_patterns("__pycache__")
LABEXTENSION = "@jupyter/nbgrader"
LANGUAGE_SERVERS = ("pylsp", "jedi_language_server", "pyright")


def write(plan: dict[str, Any], folder: Path, program: Path, *, shared: bool = False) -> Path:
    """Write the configuration of ``plan`` below ``folder``.

    Args:
        plan: a ServerPlan.
        folder: made here; it holds no secret.
        program: the folder of the start program, with its static files.
        shared: programs that are not this person's reach the loopback: those that are graded.

    Returns:
        The folder for ``JUPYTER_CONFIG_PATH``.
    """
    jupyter = folder / "jupyter"
    (jupyter / "labconfig").mkdir(parents=True, exist_ok=True)
    config = server_config(plan, program)
    if shared:
        # Whoever reaches a kernel's ports reads what it shows.
        config["KernelManager"] = {"transport": "ipc"}
    _dump(jupyter / "jupyter_server_config.json", config)
    _dump(jupyter / "labconfig" / "page_config.json", {"disabledExtensions": disabled(plan)})
    _dump(jupyter / "labconfig" / "default_setting_overrides.json", SETTINGS)
    nbgrader = plan.get("nbgrader")
    if nbgrader:
        _dump(jupyter / "nbgrader.json", nbgrader["config"])
        _dump(jupyter / "nbgrader_fixed.json", nbgrader.get("fixed", {}))
        _dump(jupyter / "nbgrader_append.json", nbgrader["append_file"])
        (jupyter / "nbgrader_course.py").write_text(nbgrader["extra_lines"], encoding="utf-8")
        shutil.copyfile(program / "nbgrader_config.py", jupyter / "nbgrader_config.py")
        # A copy, because an upgrade of the site takes the program's files from a running server.
        shutil.copytree(
            program / NBGRADER, jupyter / NBGRADER, dirs_exist_ok=True, ignore=_COMPILED
        )
    return jupyter


def server_config(plan: dict[str, Any], program: Path) -> dict[str, Any]:
    """Configuration of Jupyter Server and of the extensions it loads, by class and trait."""
    labextensions = [str(program / "labextensions")]
    lsp = any(importlib.util.find_spec(name) for name in LANGUAGE_SERVERS)
    return {
        "ServerApp": {
            # nbgrader wants the course directory below the server's root, so the root is /;
            # what a person finds there is the sandbox's own tree.
            "root_dir": "/",
            "default_url": start_url(plan),
            "jpserver_extensions": server_extensions(plan),
            "open_browser": False,
            "terminals_enabled": True,
            "terminado_settings": {"shell_command": ["/bin/bash"]},
        },
        "LabApp": {
            "extension_manager": "readonly",
            "news_url": None,
            "check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
            "extra_labextensions_path": labextensions,
        },
        "JupyterNotebookApp": {"extra_labextensions_path": labextensions},
        # The trash would be a folder in the quota of the user that nobody empties.
        "FileContentsManager": {
            "preferred_dir": plan["start_folder"],
            "delete_to_trash": False,
            "always_delete_dir": True,
        },
        "Places": {"tops": places(plan)},
        # Formgrader shows what students wrote: their HTML must not run as the instructor.
        "HTMLExporter": {"sanitize_html": True},
        **exporters(),
        "LanguageServerManager": {"autodetect": lsp},
        "MappingKernelManager": {"buffer_offline_messages": True},
    }


def exporters() -> dict[str, dict[str, bool]]:
    """nbconvert's classes that need a program or a module → whether it is here.

    JupyterLab's *Save and Export* offers the others alone.
    """
    return {name: {"enabled": all(map(_is_here, needed))} for name, needed in EXPORTERS.items()}


def _is_here(name: str) -> bool:
    return shutil.which(name) is not None or importlib.util.find_spec(name) is not None


def places(plan: dict[str, Any]) -> list[str]:
    """Names on top of the server's files that a person has something in; the rest is the system's."""
    targets = [mount["target"].strip("/") for mount in plan.get("mounts", ())]
    return sorted({each.split("/")[0] for each in targets if not each.startswith(_NOT_FILES)})


def start_url(plan: dict[str, Any]) -> str:
    """Where the browser goes: the plan's page, with the start folder open in the classic one."""
    url = str(plan["default_url"])
    if url.rstrip("/") == "/tree":
        return f"/tree{plan['start_folder']}"
    return url


def server_extensions(plan: dict[str, Any]) -> dict[str, bool]:
    """Which of nbgrader's server extensions load; the course list never does."""
    nbgrader = plan.get("nbgrader") or {}
    switches = {"nbgrader.server_extensions.course_list": False}
    for switch, (extension, _) in PARTS.items():
        if extension:
            switches[extension] = bool(nbgrader.get(switch))
    return switches


def disabled(plan: dict[str, Any]) -> dict[str, bool]:
    """Plugins of JupyterLab and Notebook 7 that are off: nbgrader's by role, news, and the like."""
    off = {
        "@jupyterlab/apputils-extension:announcements": True,
        "@jupyterlab/extensionmanager-extension": True,
        f"{LABEXTENSION}:course-list": True,
        # Ours opens the formgrader in a tab of its own: see labextensions/courseyard.
        f"{LABEXTENSION}:formgrader": True,
    }
    nbgrader = plan.get("nbgrader") or {}
    for switch, (_, plugins) in PARTS.items():
        if not nbgrader.get(switch):
            off.update({f"{LABEXTENSION}:{plugin}": True for plugin in plugins})
    if not any(nbgrader.get(switch) for switch in PARTS):
        off[LABEXTENSION] = True
    if not nbgrader.get("formgrader"):
        off["courseyard:formgrader"] = True
    return off


def _dump(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")
