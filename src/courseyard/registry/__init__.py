"""Registry: a directory of course files becomes courses."""
