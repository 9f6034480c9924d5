"""An image whose servers cost little: the start program's last step becomes a small HTTP server.

Everything before that is real: sandbox, sockets, identity, the start program. The server answers
Jupyter's ``api``, and runs Python that a test sends it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_MODULES = {
    "tornado/web.py": "class HTTPError(Exception): pass\n",
    "traitlets/__init__.py": "def default(name): return lambda method: method\n",
    "jupyter_client/kernelspec.py": "class KernelSpecManager:\n    def get_kernel_spec(self): pass\n",
    "jupyter_server/serverapp.py": "class ServerApp: pass\n",
    "jupyterhub/services/auth.py": "class HubOAuth: pass\n",
    "jupyterhub/singleuser/extension.py": """
import http.server, json, os, signal, socket, sys, time, traceback, urllib.parse

PREFIX = os.environ["JUPYTERHUB_SERVICE_PREFIX"]

class JupyterHubIdentityProvider:
    page_config_hook = None

class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-JupyterHub-Version", "6.1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.answer({"version": "2", "pid": os.getpid(), "path": self.path})
    def do_POST(self):
        space = {}
        try:
            exec(self.rfile.read(int(self.headers["Content-Length"])).decode(), space)
            self.answer({"value": space.get("value")})
        except BaseException:
            self.answer({"error": traceback.format_exc()})
    def log_message(self, *a): pass

class Server(http.server.ThreadingHTTPServer):
    def server_bind(self): pass

class JupyterHubSingleUser:
    serverapp_class = None
    @classmethod
    def launch_instance(cls, argv):
        if "SLOW_START" in os.environ:
            time.sleep(float(os.environ["SLOW_START"]))
        if "SLOW_STOP" in os.environ:
            def linger(*a):
                time.sleep(float(os.environ["SLOW_STOP"]))
                os._exit(0)
            signal.signal(signal.SIGTERM, linger)
        inherited = cls.serverapp_class.inherited
        url = urllib.parse.urlparse(os.environ.get("JUPYTERHUB_SERVICE_URL", ""))
        if inherited is None:
            inherited = socket.create_server((url.hostname or "127.0.0.1", url.port or 8888))
        inherited.setblocking(True)
        server = Server(("127.0.0.1", 0), Handler, bind_and_activate=False)
        server.socket.close()
        server.socket = inherited
        print("light server ready", flush=True)
        server.serve_forever()
""",
}


def make(folder: Path) -> None:
    """Make the image in ``folder``."""
    base = getattr(sys, "_base_executable", sys.executable)
    subprocess.run([base, "-m", "venv", "--without-pip", str(folder)], check=True)
    (packages,) = folder.glob("lib/python3*/site-packages")
    for name, text in _MODULES.items():
        file = packages / name
        file.parent.mkdir(parents=True, exist_ok=True)
        for part in file.relative_to(packages).parents:
            if part.name:
                (packages / part / "__init__.py").touch()
        file.write_text(text)
