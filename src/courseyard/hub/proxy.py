"""Traefik's configuration, apart from the routes that the hub writes itself.

Traefik watches one folder (``<state>/proxy/routes``). ``hub.yaml`` in it has the hub's routes
(``routes.py``); what stands beside it, ``courseyard.yaml``, is ours. The files are JSON, which is YAML.

Facts: https://doc.traefik.io/traefik/v3.6/ (static configuration, routers, rateLimit, errors).
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from courseyard.errors import SettingsError
from courseyard.hub import domains, login
from courseyard.hub.login import ENTRY
from courseyard.hub.places import Places
from courseyard.settings import Site

API_ENTRY = "hub-api"
METRICS_ENTRY = "metrics"
STATIC_FILE = "traefik.yaml"
HUB_ROUTES = "hub.yaml"
OWN_ROUTES = "courseyard.yaml"
#: Ours for Traefik, which interprets its source: people's servers set cookies of their own path alone.
PLUGIN = "cookies"
_ACME = "acme"
_PLUGINS = Path(__file__).with_name("plugins")


def write_static(site: Site) -> Path:
    """Write both of our files and the plugin; returns the one for ``traefik --configfile``.

    Traefik is to be started in the folder of that file.

    Raises:
        SettingsError: the site's TLS settings do not fit together, or a file is missing.
    """
    places = Places(site)
    _check_tls(site)
    places.make()
    write_own_routes(site)
    # Traefik looks for them below the folder in which it is started.
    shutil.copytree(_PLUGINS, places.proxy_dir / "plugins-local" / "src", dirs_exist_ok=True)
    static = places.proxy_dir / STATIC_FILE
    _write(static, static_configuration(site))
    return static


def write_own_routes(site: Site) -> None:
    """Write what stands beside the hub's routes; a running Traefik takes it over."""
    _write(Places(site).routes_dir / OWN_ROUTES, dynamic_configuration(site))


def static_configuration(site: Site) -> dict[str, Any]:
    """Ports, provider, certificates, logs: what Traefik reads once."""
    places, proxy = Places(site), site.proxy
    entry: dict[str, Any] = {
        "address": f"{site.hub.address}:{site.hub.port}",
        "http": {
            "middlewares": ["courseyard-headers@file", "courseyard-gone@file"],
            "maxHeaderBytes": 65536,
            "aliasHeadersStrategy": "reject",
        },
        # Notebooks and their kernels hold connections open for hours.
        "transport": {
            "respondingTimeouts": {"readTimeout": "0s", "idleTimeout": "600s"},
            # A stop need not wait for web sockets, which never end by themselves.
            "lifeCycle": {"graceTimeOut": "2s"},
        },
    }
    if proxy.trusted_proxies:
        # From everybody else Traefik throws X-Forwarded-* away and writes them itself.
        entry["forwardedHeaders"] = {"trustedIPs": list(proxy.trusted_proxies)}
    if proxy.tls.acme_domain:
        entry["http"]["tls"] = {
            "certResolver": _ACME,
            "domains": [{"main": proxy.tls.acme_domain}],
        }
    elif places.is_https:
        entry["http"]["tls"] = {}
    static: dict[str, Any] = {
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "log": {"level": "WARN"},
        "api": {},
        # Without it no server would answer, so Traefik had better not start.
        "experimental": {
            "abortOnPluginFailure": True,
            "localPlugins": {PLUGIN: {"moduleName": f"courseyard/{PLUGIN}"}},
        },
        "entryPoints": {ENTRY: entry, API_ENTRY: {"address": f"127.0.0.1:{places.proxy_api_port}"}},
        "providers": {
            "providersThrottleDuration": "0s",
            "file": {"directory": str(places.routes_dir), "watch": True},
        },
    }
    if proxy.access_log:
        static["accessLog"] = {
            "filePath": str(site.path(proxy.access_log)),
            # A token may stand in an address; headers hold cookies.
            "fields": {"headers": {"defaultMode": "drop"}, "names": {"RequestPath": "keep"}},
        }
    if proxy.metrics_port:
        static["entryPoints"][METRICS_ENTRY] = {"address": f"127.0.0.1:{proxy.metrics_port}"}
        static["metrics"] = {"prometheus": {"entryPoint": METRICS_ENTRY, "addRoutersLabels": False}}
    if proxy.tls.acme_domain:
        static["certificatesResolvers"] = {
            _ACME: {
                "acme": {
                    "email": proxy.tls.acme_email,
                    "storage": str(places.proxy_dir / "acme.json"),
                    "tlsChallenge": {},
                }
            }
        }
    return static


def dynamic_configuration(site: Site) -> dict[str, Any]:
    """The limited log-in page, headers for every answer, and the site's certificate."""
    places = Places(site)
    hub = f"{places.base_url}hub"
    headers: dict[str, Any] = {
        "contentTypeNosniff": True,
        "referrerPolicy": "same-origin",
        "customResponseHeaders": {"Server": "", "X-JupyterHub-Version": ""},
    }
    if places.is_https:
        headers["stsSeconds"] = 31536000
    dynamic: dict[str, Any] = {
        "http": {
            "routers": {**login.routers(site, hub), **domains.routers(site, ENTRY)},
            "middlewares": {
                "courseyard-headers": {"headers": headers},
                **login.limits(site),
                **domains.middlewares(site),
                # A server that has just ended: a page instead of a bare "Bad Gateway".
                "courseyard-gone": {
                    "errors": {
                        "status": ["502"],
                        "service": "courseyard-hub",
                        "query": f"{hub}/error/{{status}}",
                    }
                },
                "courseyard-too-many": {
                    "errors": {
                        "status": ["429"],
                        "service": "courseyard-hub",
                        "query": f"{hub}/error/{{status}}",
                    }
                },
            },
            "services": {
                "courseyard-hub": {"loadBalancer": {"servers": [{"url": places.hub_url}]}}
            },
        }
    }
    tls = site.proxy.tls
    if tls.certificate and tls.key:
        pair = {"certFile": str(site.path(tls.certificate)), "keyFile": str(site.path(tls.key))}
        dynamic["tls"] = {
            "certificates": [pair],
            "stores": {"default": {"defaultCertificate": pair}},
            "options": {"default": {"minVersion": "VersionTLS12"}},
        }
    return dynamic


def _check_tls(site: Site) -> None:
    tls = site.proxy.tls
    if (tls.certificate is None) != (tls.key is None):
        raise SettingsError(
            "proxy.tls: a certificate needs its key, and a key its certificate.",
            "Set both `certificate` and `key`, or neither.",
        )
    if (tls.acme_domain is None) != (tls.acme_email is None):
        raise SettingsError(
            "proxy.tls: ACME needs both `acme_domain` and `acme_email`.", "Set both, or neither."
        )
    if tls.certificate and tls.acme_domain:
        raise SettingsError(
            "proxy.tls: a certificate and ACME exclude each other.", "Keep one of them."
        )
    for name, file in (("certificate", tls.certificate), ("key", tls.key)):
        if file is not None and not site.path(file).is_file():
            raise SettingsError(
                f"proxy.tls.{name}: {file} is not there.", "Correct the path in the site file."
            )


def _write(file: Path, content: dict[str, Any]) -> None:
    """Replace ``file`` at once, so that Traefik never reads half of it."""
    fd, temporary = tempfile.mkstemp(dir=file.parent, prefix=".")
    with os.fdopen(fd, "w", encoding="utf-8") as out:
        json.dump(content, out, indent=1)
    Path(temporary).replace(file)
