# mypy: ignore-errors
# Courseyard wrote this file; nbgrader reads it in the server, in kernels and in terminals.
# The values lie beside it as data; below them come the course file's own lines and, in an
# instructor's server, the file that instructors keep in the course directory. What students
# must not get around comes last.
import json
import logging
import pathlib
import sys

_here = pathlib.Path(__file__).resolve().parent
# Imported once from here, it stays known under this name: traitlets finds classes of it by words.
sys.path.insert(0, str(_here))
try:
    from courseyard_nbgrader import values as _values

    if "nbgrader" in sys.modules:  # it is what reads this
        from courseyard_nbgrader import converters as _converters
        from courseyard_nbgrader import places as _places

        _converters.install()
        _places.install()
finally:
    sys.path.remove(str(_here))


def _set(name):
    for section, traits in json.loads((_here / name).read_text("utf-8")).items():
        for trait, value in traits.items():
            setattr(c[section], trait, value)  # noqa: F821  (traitlets gives `c`)


def _run(path, name):
    """Run lines of configuration; a mistake in them costs only itself."""
    before = _values.snapshot(c)  # noqa: F821
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    except Exception as error:
        logging.getLogger("courseyard").warning("%s cannot be read: %s", name, error)
        return
    try:
        exec(compile(text, name, "exec"), {"c": c, "get_config": lambda: c})  # noqa: F821, S102
    except (Exception, SystemExit) as error:
        line = getattr(error, "lineno", None)
        trace = error.__traceback__
        while trace is not None and line is None:
            if trace.tb_frame.f_code.co_filename == name:
                line = trace.tb_lineno
            trace = trace.tb_next
        logging.getLogger("courseyard").warning(
            "%s:%s: %s: %s; the lines below it are not in force",
            name,
            line or 1,
            type(error).__name__,
            error,
        )
    _values.leave_out_wrong(c, before, name)  # noqa: F821


_set("nbgrader.json")
_run(_here / "nbgrader_course.py", "nbgrader_config of the course file")
_more = json.loads((_here / "nbgrader_append.json").read_text("utf-8"))
if _more:
    _run(pathlib.Path(_more), _more)
_set("nbgrader_fixed.json")
