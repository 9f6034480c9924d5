"""Import a distribution's module: ``probe_import.py DISTRIBUTION [MODULE]``."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys

ANSWER = "answer: "


def modules(found: importlib.metadata.Distribution, name: str) -> list[str]:
    """Its public top-level modules; one with its own name stands for all."""
    tops = set()
    for path in found.files or []:
        first = path.parts[0]
        if len(path.parts) > 1 and path.name == "__init__.py" and len(path.parts) == 2:
            tops.add(first)
        elif len(path.parts) == 1 and first.endswith(".py"):
            tops.add(first[: -len(".py")])
    own = name.replace("-", "_")
    public = sorted(top for top in tops if not top.startswith("_") and top.isidentifier())
    return [own] if own in public else public


def main() -> None:
    name = sys.argv[1]
    try:
        found = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        sys.exit(f"The package {name} is not in the image.")
    for module in sys.argv[2:] or modules(found, name):
        importlib.import_module(module)
    print(ANSWER + json.dumps(found.version), flush=True)


main()
