"""What runs inside an image: Python 3.9 and the standard library; scripts ``probe_*`` need Jupyter."""
