"""JupyterHub as a university needs it: courses instead of one server for each person."""
