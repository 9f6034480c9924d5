"""Courseyard: one directory of course files runs the courses of a university's JupyterHub."""

__version__ = "0.1.0"
