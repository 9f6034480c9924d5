from pathlib import Path

from courseyard.hub.configure import configure
from courseyard.sitefile import load_site

configure(c, load_site(Path(__file__).parent))  # noqa: F821  (JupyterHub gives c)
