"""The one call in a site's ``jupyterhub_config.py``::

from courseyard.hub.configure import configure
configure(c, load_site(Path(__file__).parent))
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

from traitlets.log import get_logger

from courseyard.backends.base import Backend
from courseyard.hub import domains, fetches, listeners, ownhost, proven, sharing
from courseyard.hub.authenticators import authenticator_class
from courseyard.hub.bounds import JUPYTERHUBS_TIME, bound_hub, use_all_files
from courseyard.hub.clock import use_steady_time
from courseyard.hub.culler import SCOPES as CULLER_SCOPES
from courseyard.hub.culler import SERVICE as CULLER
from courseyard.hub.culler import cull_forever
from courseyard.hub.database import fold_at_once, fold_forever, use_log
from courseyard.hub.door import open_door
from courseyard.hub.ending import end_at_once
from courseyard.hub.garbage import collect_forever, set_aside
from courseyard.hub.home import base, errorpages, handlers, keyholders, looks
from courseyard.hub.keyed import expire_forever
from courseyard.hub.login import ENTRY
from courseyard.hub.places import Places, secret_file
from courseyard.hub.planned import PlannedSpawner
from courseyard.hub.proxy import API_ENTRY, HUB_ROUTES, write_own_routes
from courseyard.hub.routes import QuickTraefikProxy
from courseyard.hub.runtime import SETTING, Runtime
from courseyard.hub.strays import stop_forever
from courseyard.hub.students import StudentsApi
from courseyard.hub.turns import Turns
from courseyard.hub.visitors import log_with_address
from courseyard.settings import Site

_HERE = Path(__file__).parent
#: What an administrator may do in JupyterHub: see users and servers, start and stop them; but not
#: look into them (no ``access:servers``), because users own their data.
ADMIN_SCOPES = [
    "admin-ui",
    "list:users",
    "read:users",
    "servers",
    "read:servers",
    "delete:servers",
    "list:services",
    "read:services",
    "read:hub",
    "read:roles",
    "read:metrics",
]


def configure(c: Any, site: Site, backend: Backend | None = None) -> Runtime:
    """Configure JupyterHub for ``site``.

    Args:
        c: the configuration object of ``jupyterhub_config.py``.
        site: the loaded site file.
        backend: where servers run; the site's agent by default.

    Raises:
        SettingsError: a file that the site file names cannot be used.
    """
    places = Places(site)
    places.make()
    runtime = Runtime(site, backend)
    # What the layers below say appears in JupyterHub's own log.
    package = logging.getLogger("courseyard")
    package.parent = get_logger()
    package.setLevel(logging.INFO)
    _hub(c, runtime)
    if site.backend == "kubernetes":
        _cluster(c, runtime)
    else:
        _machine(c, places)
    c.KeyedProxy.keys = runtime.keys
    # On a host of their own, people's servers may set cookies for all of it (`__Host-` asks for that).
    own_hosts = domains.host(runtime.site)
    c.KeyedProxy.users = "" if own_hosts else f"{runtime.places.base_url}user/"
    c.KeyedProxy.proven = proven.secret(places)
    _people(c, runtime)
    _pages(c, runtime)
    culler_token = secret_file(places.hub_dir / "culler-token")
    _roles(c, site, culler_token)
    if _serves():
        _background(runtime, culler_token)
    return runtime


def _serves() -> bool:
    """JupyterHub reads its configuration inside the loop that serves; other commands have none."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _background(runtime: Runtime, culler_token: str) -> None:
    """What runs beside the pages, for as long as the hub lives."""
    end_at_once()
    listeners.use()
    Turns.install(asyncio.get_running_loop())
    use_steady_time()
    proven.install(proven.secret(runtime.places))
    runtime.run(runtime.registry.watch)
    runtime.run(runtime.watch_images)
    runtime.run(cull_forever, runtime, culler_token)
    use_all_files()
    runtime.run(bound_hub)
    runtime.run(open_door, runtime)
    if not runtime.site.hub.sharing:
        runtime.run(sharing.end_shares, runtime)
    runtime.run(fold_forever, runtime.places.database())
    if runtime.site.backend == "kubernetes":
        from courseyard.hub.orphans import remove_forever

        runtime.run(remove_forever, runtime)
    else:
        # The proxy goes on while the hub is upgraded: its part has to be of this version too.
        write_own_routes(runtime.site)
        if runtime.backend is runtime.agent:
            runtime.run(stop_forever, runtime)
    runtime.run(expire_forever, runtime.keys)
    set_aside()
    runtime.run(collect_forever)


def _hub(c: Any, runtime: Runtime) -> None:
    places, servers = runtime.places, runtime.site.servers
    c.JupyterHub.bind_url = places.proxy_url
    c.JupyterHub.hub_bind_url = places.hub_bind_url
    c.JupyterHub.db_url = places.database()
    # What a hub that was killed left in the log is in no copy of the file that an upgrade makes.
    fold_at_once(places.database())
    use_log()
    c.JupyterHub.cookie_secret_file = str(places.hub_dir / "cookie-secret")
    c.ConfigurableHTTPProxy.pid_file = str(places.hub_dir / "proxy.pid")
    # Servers and the proxy live on while the hub restarts.
    c.JupyterHub.cleanup_servers = False
    c.JupyterHub.cleanup_proxy = False
    c.JupyterHub.allow_named_servers = True
    c.JupyterHub.redirect_to_server = False
    c.JupyterHub.default_url = f"{places.base_url}hub/home"
    c.JupyterHub.concurrent_spawn_limit = servers.starting
    c.JupyterHub.active_server_limit = servers.all_users
    c.JupyterHub.init_spawners_timeout = 10
    c.JupyterHubHTTPClient.session_options = {"timeout": JUPYTERHUBS_TIME}
    # One person's broken start must not stop the hub for everyone.
    c.Spawner.consecutive_failure_limit = 0
    c.Spawner.poll_interval = 10
    c.Spawner.apply_user_options = _ignore_wishes
    c.JupyterHub.tornado_settings = {
        SETTING: runtime,
        "headers": looks.headers(places),
        "transforms": [fetches.Headers],
        # A script in a page of the same origin could read it (document.cookie, history.pushState).
        "xsrf_cookie_kwargs": {"httponly": True},
        "slow_stop_timeout": 5,
        "log_function": log_with_address(runtime.trusted),
    }
    if public_url := runtime.site.hub.public_url:
        _public(c, public_url)
    if domains.host(runtime.site):
        domains.configure(c, runtime.site)


def _public(c: Any, url: str) -> None:
    """The address that people open, which no request shows for certain."""
    c.JupyterHub.public_url = url
    c.OAuthenticator.oauth_callback_url = f"{url}hub/oauth_callback"
    if url.startswith("https:"):
        # Servers get it too, whatever the proxy in front tells them.
        for cookies in ("cookie_options", "xsrf_cookie_kwargs"):
            c.JupyterHub.tornado_settings.setdefault(cookies, {})["secure"] = True


def _ignore_wishes(spawner: PlannedSpawner, user_options: dict[str, Any]) -> None:
    """What a browser or a token sends with a start has no effect."""


def _machine(c: Any, places: Places) -> None:
    """One machine: servers by the agent, routes by a file that Traefik watches."""
    from courseyard.hub.spawner import CourseSpawner

    c.JupyterHub.spawner_class = CourseSpawner
    c.JupyterHub.proxy_class = QuickTraefikProxy
    proxy = c.QuickTraefikProxy
    proxy.should_start = False
    proxy.traefik_entrypoint = ENTRY
    proxy.traefik_api_entrypoint = API_ENTRY
    proxy.traefik_api_url = f"http://127.0.0.1:{places.proxy_api_port}"
    proxy.traefik_api_username = "hub"
    proxy.traefik_api_password = places.proxy_password()
    proxy.dynamic_config_file = str(places.routes_dir / HUB_ROUTES)
    proxy.static_config_file = str(places.proxy_dir / "unused.toml")


def _cluster(c: Any, runtime: Runtime) -> None:
    """A cluster: servers as pods, routes served to the proxies that ask for them."""
    from courseyard.backends.kubernetes.manifests import COMPONENT
    from courseyard.hub.podspawner import CoursePodSpawner
    from courseyard.hub.served import ServedRoutesProxy

    places = runtime.places
    c.JupyterHub.spawner_class = CoursePodSpawner
    c.JupyterHub.hub_connect_url = places.hub_url
    # Names without a word of the site: its namespace is its own.
    c.CoursePodSpawner.pod_name_template = "server-{user_server}"
    # Before any plan too: a hub that starts again finds its pods by these two.
    c.CoursePodSpawner.namespace = runtime.site.kubernetes.users_namespace
    c.CoursePodSpawner.component_label = COMPONENT
    c.JupyterHub.proxy_class = ServedRoutesProxy
    proxy = c.ServedRoutesProxy
    proxy.should_start = False
    proxy.traefik_entrypoint = ENTRY
    proxy.traefik_api_password = places.proxy_password()  # not used, but asked for
    proxy.dynamic_config_file = str(places.routes_dir / "hub.json")
    proxy.static_config_file = str(places.proxy_dir / "unused.toml")
    proxy.site = runtime.site
    # A place is held until all proxies know of the route, and they are told of many together.
    proxy.concurrency = runtime.site.servers.starting


def _people(c: Any, runtime: Runtime) -> None:
    hub, people = runtime.site.hub, runtime.site.people
    c.JupyterHub.authenticator_class = authenticator_class(hub.authenticator, runtime)
    # The gate is People: every account that it knows may log in (see KnownPeople).
    c.Authenticator.allow_all = True
    c.Authenticator.username_pattern = rf"\A(?:{people.username_pattern})\Z"
    c.Authenticator.delete_invalid_users = False
    for name, options in hub.authenticator_options.items():
        for trait, value in dict(options).items():
            c[name][trait] = value


def _pages(c: Any, runtime: Runtime) -> None:
    c.JupyterHub.template_paths = [str(_HERE / "templates")]
    # Else each page asks the file system whether its templates have changed.
    c.JupyterHub.jinja_environment_options = {"auto_reload": False}
    c.JupyterHub.template_vars = looks.template_vars(runtime)
    more: list[tuple[Any, ...]] = [
        (r"/api/users/([^/]+)/servers/([^/]+)/students", StudentsApi),
    ]
    if runtime.site.backend == "kubernetes":
        from courseyard.hub.grading import GradingApi

        more.append((r"/api/users/([^/]+)/servers/([^/]+)/grading", GradingApi))
    handlers.install(runtime.site, *more)
    base.install()
    fetches.install()
    errorpages.install()
    keyholders.install(runtime.keys)
    if domains.host(runtime.site):
        ownhost.install()  # after all else that is put into JupyterHub's handlers, so before it in time


def _roles(c: Any, site: Site, culler_token: str) -> None:
    c.JupyterHub.services = [{"name": CULLER, "api_token": culler_token, "display": False}]
    c.JupyterHub.load_roles = [
        {
            "name": "user",
            "description": "What is the person's own",
            "scopes": sharing.SCOPES if site.hub.sharing else ["self"],
        },
        {
            "name": "courseyard-administrator",
            "description": "Sees users and servers, starts and stops them",
            "scopes": ADMIN_SCOPES,
            "users": list(site.people.administrators),
        },
        {
            "name": "courseyard-culler",
            "description": "Stops servers that nobody uses, forgets people who left",
            "scopes": CULLER_SCOPES,
            "services": [CULLER],
        },
    ]
