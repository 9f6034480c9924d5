"""The last step of a start: this process becomes ``jupyterhub-singleuser``."""

# mypy: disable-error-code="misc, has-type, untyped-decorator"
# Jupyter is the image's: it has no types here.
from __future__ import annotations

import functools
import importlib
import os
import socket
from typing import Any

from jupyter_server.serverapp import ServerApp
from traitlets import default

#: Extensions of nbgrader → our module that mends them.
MENDED = {
    "nbgrader.server_extensions.formgrader": "formgrader",
    "nbgrader.server_extensions.assignment_list": "assignments",
    "nbgrader.server_extensions.validate_assignment": "validate",
}


class InheritedSocketServer(ServerApp):
    """A Jupyter server on a socket that listens already; it opens no port.

    The start made it in the sandbox's own network (backends/sandbox/network.py).
    """

    inherited: socket.socket | None = None

    @default("contents_manager_class")
    def _places(self) -> Any:
        return importlib.import_module(f"{__package__}.contents").Places

    def _find_http_port(self) -> None:
        if self.inherited is None:
            super()._find_http_port()

    def _bind_http_server_tcp(self) -> bool:
        if self.inherited is None:
            return bool(super()._bind_http_server_tcp())
        self.http_server.add_socket(self.inherited)
        return True

    def init_webapp(self) -> None:
        super().init_webapp()
        marking = importlib.import_module(f"{__package__}.websockets").Marking
        self.web_app.add_transform(functools.partial(marking, base_url=self.base_url))

    def find_server_extensions(self) -> None:
        super().find_server_extensions()
        # Jupyter imports also what is switched off: half a second of nbgrader in each server.
        on = {name: loaded for name, loaded in self.jpserver_extensions.items() if loaded}
        self.jpserver_extensions = on

    def load_server_extensions(self) -> None:
        load = self.extension_manager.load_extension

        def load_one(name: str) -> None:
            try:
                load(name)
            except SystemExit:
                # nbgrader ends the process at a wrong value in /course/nbgrader_config.py.
                self.log.warning("%s is not in this server: its configuration is wrong", name)

        self.extension_manager.load_extension = load_one
        # Imported here alone: nbgrader is slow to import, and servers without a course do not need it.
        mending = [
            importlib.import_module(f"{__package__}.{name}")
            for extension, name in MENDED.items()
            if self.jpserver_extensions.get(extension)
        ]
        for module in mending:
            module.prepare(self)
        super().load_server_extensions()
        for module in mending:
            module.mend(self)

    def write_browser_open_files(self) -> None:
        """Nobody opens a browser in here; the files would hold the token."""

    def write_server_info_file(self) -> None:
        """The same: ``jpserver-<pid>.json`` would hold the token."""


def take_socket(descriptor: str) -> socket.socket | None:
    """The inherited socket, closed to kernels and terminals; None without one.

    Raises:
        SystemExit: the descriptor is not a listening TCP socket.
    """
    if not descriptor:
        return None
    try:
        fd = int(descriptor)
        os.set_inheritable(fd, False)
        inherited = socket.socket(fileno=fd)
        listening = inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except (OSError, ValueError) as error:
        raise SystemExit(f"courseyard: no socket to listen on: {error}") from error
    if not listening or inherited.type != socket.SOCK_STREAM:
        raise SystemExit("courseyard: the socket that was handed in does not listen")
    inherited.setblocking(False)
    return inherited


def share(plan: dict[str, Any], provider: Any) -> None:
    """JupyterLab's *Copy Shareable Link* starts this server's course for whoever opens it."""
    stock = provider.page_config_hook

    def page_config_hook(self: Any, handler: Any, page_config: dict[str, Any]) -> dict[str, Any]:
        config: dict[str, Any] = stock(self, handler, page_config)
        lead = f"go/{plan['course']}" if plan["course"] else "user-redirect"
        config["shareUrl"] = f"{config['hubHost']}{config['hubPrefix']}{lead}"
        return config

    provider.page_config_hook = page_config_hook


def become(plan: dict[str, Any], descriptor: str) -> None:
    """Serve until the hub or the person ends it."""
    InheritedSocketServer.inherited = take_socket(descriptor)
    # Not before the environment is complete: it is read when the module is imported.
    from jupyterhub.singleuser import extension
    from jupyterhub.singleuser.extension import JupyterHubSingleUser

    importlib.import_module(f"{__package__}.kernels").guard()
    extension.HubOAuth = importlib.import_module(f"{__package__}.hubauth").PatientHubOAuth
    share(plan, extension.JupyterHubIdentityProvider)
    JupyterHubSingleUser.serverapp_class = InheritedSocketServer
    JupyterHubSingleUser.launch_instance(argv=[])
