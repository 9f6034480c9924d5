"""The command ``courseyard``: one file per group of commands."""

from __future__ import annotations


def main() -> None:
    """Run the command line of this process and exit."""
    from courseyard.cli.app import main as run

    run()
