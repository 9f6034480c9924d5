"""Names of assignments and notebooks that work from release to feedback, on every page.

nbgrader 0.9 takes any name, and reads it later as a pattern of file names, as a regular expression,
as a part of an address and as a part of a folder's name.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

#: Characters that do not work → why.
_WHY = {
    "/\\": "divides folders",
    "+": "divides the parts of a submission's name",
    "*?[]": "stands for other characters in patterns",
    "#%": "has a meaning of its own in web addresses",
    '"<>|:': "is not allowed in file names on some computers",
    "$`!": "has a meaning of its own in terminals",
}
_LONGEST = 150  # bytes; a folder of the exchange adds the student's name, a time and a random end
#: Left out wherever nbgrader copies notebooks' companions (nbgrader/converters/base.py).
_NOTEBOOKS = "*.ipynb"


def objection(name: str, ignore: Iterable[str] = ()) -> str:
    """Why ``name`` cannot be an assignment's, and what to write instead; "" when it can.

    Args:
        ignore: patterns of names that nbgrader leaves out (``CourseDirectory.ignore``).
    """
    if not name.strip():
        return "The name is empty. Write one such as week1."
    about = f"The name {name!a} cannot be used" if not name.isprintable() else ""
    if about:
        return f"{about}: it holds a character that cannot be seen. Type it anew."
    about = f"The name '{name}' cannot be used"
    for characters, why in _WHY.items():
        for each in characters:
            if each in name:
                return f"{about}: {each} {why}. Leave it out, or write - or _ in its place."
    if name != name.strip() or name.endswith("."):
        return f"{about}: it begins or ends with a space, or ends with a dot. Leave that out."
    if name.startswith((".", "-")):
        return f"{about}: it begins with {name[0]}. Begin with a letter or a number."
    if len(name.encode()) > _LONGEST:
        fits = len(name.encode()[:_LONGEST].decode(errors="ignore"))
        return f"{about}: it is too long. Use at most {fits} letters."
    for pattern in (_NOTEBOOKS, *ignore):
        if fnmatchcase(name, pattern):
            return f"{about}: nbgrader leaves out all that is named {pattern}. Use another name."
    return ""
