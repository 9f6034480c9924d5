"""nbgrader's ``Execute``, with the kernel in a sandbox of its own.

nbgrader runs students' code with the instructor's rights: everybody's work, the gradebook and the
hidden tests lie open to it (nbgrader/preprocessors/execute.py, nbclient). Here the notebook stays on
this side, and what executes cells sees the submission's files and no notebook.
"""

# mypy: disable-error-code="misc, import-not-found, no-any-return, has-type"
# Jupyter and nbgrader are the image's: they have no types here.
from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from nbclient.exceptions import DeadKernelError
from nbgrader import preprocessors, utils
from traitlets import Float

from .tunnel import PORTS, RemoteKernel

#: What a notebook may ask for; nothing else of this server's environment goes along.
_VARIABLE = "NBGRADER_EXECUTION"


class SandboxProvisioner(LocalProvisioner):
    """Starts the kernel beyond the tunnel."""

    kernel: RemoteKernel | None = None

    @property
    def has_process(self) -> bool:
        return self.kernel is not None

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> dict[str, Any]:
        manager = self.parent
        file = os.path.realpath(manager.connection_file)
        environment = {**self.kernel_spec.env, _VARIABLE: os.environ.get(_VARIABLE, "")}
        self.kernel = manager.kernel = await asyncio.to_thread(
            RemoteKernel,
            [word.replace(file, "{connection_file}") for word in cmd],
            environment=environment,
            connection={
                "key": manager.session.key.decode(),
                "signature_scheme": manager.session.signature_scheme,
            },
            folder=Path(kwargs.get("cwd") or "."),
            modules=manager.modules,
            seconds=manager.seconds,
            tell=self.log.warning,
        )
        manager.ip = self.kernel.prefix
        self.connection_info = manager.get_connection_info()
        return self.connection_info

    async def poll(self) -> int | None:
        return self.kernel.returncode if self.kernel is not None else 0

    async def wait(self) -> int | None:
        if self.kernel is None:
            return 0
        await asyncio.to_thread(self.kernel.ended.wait, 20)
        code, self.kernel = self.kernel.returncode, None
        return code

    async def send_signal(self, signum: int) -> None:
        if self.kernel is not None:
            self.kernel.signal(signum)

    async def kill(self, restart: bool = False) -> None:
        if self.kernel is not None:
            self.kernel.close()

    async def terminate(self, restart: bool = False) -> None:
        await self.kill(restart)

    async def cleanup(self, restart: bool = False) -> None:
        await self.kill(restart)


class SandboxKernelManager(AsyncKernelManager):
    """A kernel manager whose kernel runs beyond the tunnel."""

    modules: Path | None = None
    seconds: float = 0
    kernel: RemoteKernel | None = None  # stays when it has ended, for what it said

    async def _async_pre_start_kernel(self, **kw: Any) -> Any:
        if self.provisioner is None:
            self.transport = "ipc"
            for name, number in PORTS.items():
                setattr(self, name, number)
            self.provisioner = SandboxProvisioner(
                kernel_id=self.kernel_id, kernel_spec=self.kernel_spec, parent=self
            )
        return await super()._async_pre_start_kernel(**kw)


class Execute(preprocessors.Execute):
    """It has nbgrader's name, so that nbgrader's settings and options for it hold."""

    notebook_timeout = Float(
        1800, help="Seconds that all cells of a notebook may take together; 0: without a limit."
    ).tag(config=True)

    _manager: Any = None  # stays when nbclient lets go of it

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "kernel_manager_class": SandboxKernelManager})
        # What a kernel does at its end is nobody's business here: everything beside it ends too.
        self.shutdown_kernel = "immediate"

    def create_kernel_manager(self) -> Any:
        manager = super().create_kernel_manager()
        # What tests may import, as in the instructors' servers.
        manager.modules = Path(self.config.CourseDirectory.root, "pymod")
        manager.seconds = self.notebook_timeout
        self._manager = manager
        return manager

    def clear_output(self, outs: Any, msg: Any, cell_index: int) -> None:
        """Not in tests: students' code would take away the result that it is judged by."""
        if not utils.is_grade(self.nb.cells[cell_index]):
            super().clear_output(outs, msg, cell_index)

    def preprocess(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().preprocess(*args, **kwargs)
        except (DeadKernelError, RuntimeError) as error:
            kernel = getattr(self._manager, "kernel", None)
            if kernel is None or not kernel.ended.wait(1):
                raise
            raise DeadKernelError(f"The kernel of the notebook ended: {kernel.reason}") from error
