"""When an assignment is due, for its students: a file beside what was released.

nbgrader keeps due dates in the gradebook, which students do not see.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

#: Hidden, so that it is not fetched.
FILE = ".courseyard-duedate.json"


def write(released: Path, due: datetime | None) -> None:
    """Say in the folder of a released assignment when it is due.

    Args:
        due: in UTC and without a zone, as nbgrader keeps it; None: not at all.

    Raises:
        OSError: it cannot be written.
    """
    beside, file = released / f"{FILE}.new", released / FILE
    beside.write_text(json.dumps({"due": due.isoformat() if due else None}), encoding="utf-8")
    beside.chmod(0o664)  # fellow instructors write it, too
    beside.replace(file)


def read(released: Path) -> datetime | None:
    """When it is due, in UTC; None where nobody said so."""
    try:
        said = json.loads((released / FILE).read_text(encoding="utf-8"))["due"]
        return datetime.fromisoformat(said) if said else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
