"""The files of a server as pages show them: on top a person's places, and nothing of the system.

The root is /, because nbgrader wants the course directory below it.
"""

# mypy: disable-error-code="misc, no-any-return"
# Jupyter is the image's: it has no types here.
from __future__ import annotations

from typing import Any

from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from traitlets import List, Unicode


class Places(AsyncLargeFileManager):
    """Jupyter's own, whose list of / has only some names. It keeps nobody out of the others."""

    tops = List(Unicode(), help="Names that / shows; empty: all.").tag(config=True)

    async def get(self, path: str, content: bool = True, **options: Any) -> dict[str, Any]:
        model: dict[str, Any] = await super().get(path, content=content, **options)
        if self.tops and not path.strip("/") and isinstance(model["content"], list):
            model["content"] = [each for each in model["content"] if each["name"] in self.tops]
        return model
