"""All commands together, and the one place where errors become sentences."""

from __future__ import annotations

import logging
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from courseyard.cli import check, courses, images, init, output, parts, plan, storage, up
from courseyard.errors import CourseyardError
from courseyard.hints import system_says

log = logging.getLogger(__name__)

app = typer.Typer(
    name="courseyard",
    help="A JupyterHub for light computing and teaching: one directory of course files runs the courses.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with `courseyard init demo && courseyard up demo`.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        output.line(f"courseyard {version('courseyard')}")
        raise typer.Exit


@app.callback()
def _every_command(
    debug: Annotated[
        bool, typer.Option("--debug", help="Log details and causes to standard error.")
    ] = False,
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    output.set_up_log(debug)


app.command("init")(init.init)
app.command("up")(up.up)
app.command("check")(check.check)
app.command("courses")(courses.courses)
app.command("plan")(plan.plan)
app.add_typer(storage.app, name="storage")
app.add_typer(images.app, name="images")
app.command("agent")(parts.agent)
app.command("hub")(parts.hub)
app.command("proxy")(parts.proxy)
app.command("hub-state")(parts.hub_state)


def main() -> None:
    """Run the command line; errors are one sentence and exit status 1, never a traceback."""
    try:
        app(prog_name="courseyard")
    except CourseyardError as error:
        output.error(error)
    except BrokenPipeError:
        sys.stderr.close()  # the reader has gone, as in `courseyard courses | head -1`
    except OSError as error:
        output.note(f"The system refused: {output.clean(system_says(error))}", "red")
        log.debug("refused", exc_info=error)
    except Exception as error:
        output.note(f"This should not have happened: {output.clean(repr(error))}", "red")
        output.note("Run it again as `courseyard --debug …` and report what it prints.")
        log.debug("unexpected", exc_info=error)
    else:
        sys.exit(0)
    sys.exit(1)
