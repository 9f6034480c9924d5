"""``python -m courseyard.cli`` is ``courseyard``."""

from courseyard.cli import main

main()
