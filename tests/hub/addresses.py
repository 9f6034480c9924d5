"""Every address of the hub: who gets what answer, right and refused.

The columns: nobody; the student ``otso``, whose server runs; ``aino``, an instructor of another
course; ``pomo``, an administrator; and a program in otso's server, which shows the server's token at
the servers' own door. An answer is a status, or where it leads (``login``; ``home``; ``opened``:
otso's server; ``started``: the asker's own, which may run by then). ``-`` is not asked. What stands
last is the body.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

ASKERS = ("nobody", "otso", "aino", "pomo", "server")
#: Answers that every page of the same origin may fetch or use: nothing of anybody's is in them.
OPEN = (
    "/robots.txt",
    "/favicon.ico",
    "/hub/static/images/jupyterhub-80.png",
    "/hub/logo",
    "/hub/courseyard/static/courseyard.css",
    "/hub/courseyard/site.css",
    "/hub/courseyard/logo",
    "/hub/health",
    "/hub/api/health",
    "/nothing",
)
TABLE = """
# Files that everybody sees, and addresses of nothing
GET    /robots.txt                                              404      404      404      404      404
GET    /favicon.ico                                             200      200      200      200      404
GET    /hub/static/images/jupyterhub-80.png                     200      200      200      200      404
GET    /hub/logo                                                200      200      200      200      404
GET    /hub/courseyard/static/courseyard.css                    200      200      200      200      404
GET    /hub/courseyard/site.css                                 200      200      200      200      404
GET    /hub/courseyard/logo                                     404      404      404      404      404
GET    /hub                                                     >/hub/   >/hub/   >/hub/   >/hub/   404
GET    /hub/                                                    home     home     home     home     404
GET    /hub/health                                              200      200      200      200      404
GET    /hub/api/health                                          200      200      200      200      200
GET    /hub/error/502                                           200      200      200      200      404
GET    /hub/error/429                                           200      200      200      200      404
GET    /hub/nothing                                             404      404      404      404      404
GET    /hub/api/nothing                                         404      404      404      404      404
GET    /nothing                                                 >/hub/nothing >/hub/nothing >/hub/nothing >/hub/nothing 404
GET    /user/otso                                               >/user/otso/ >/user/otso/ >/user/otso/ >/user/otso/ 404
GET    /services/x                                              >/services/x/ >/services/x/ >/services/x/ >/services/x/ 404
# Pages
GET    /hub/login                                               200      home     home     home     404
# A fourth try of one name is one too many here.
POST   /hub/login                                               403      403      403      429      404 {"username": "eve", "password": "wrong"}
POST   /hub/login                                               home     -        -        -        - {"username": "otso", "password": "correct horse otso"}
GET    /hub/home                                                login    200      200      200      404
GET    /hub/go/algo2026                                         login    opened   started  started  404
POST   /hub/go/secret                                           403      403      403      started  404
GET    /hub/go/secret                                           login    403      403      started  404
GET    /hub/spawn                                               login    home     home     home     404
POST   /hub/spawn                                               403      403      403      403      404
GET    /hub/spawn/otso                                          login    home     home     home     404
POST   /hub/spawn/otso                                          403      403      404      403      404
GET    /hub/spawn/otso/algo2026                                 login    opened   404      opened   404
POST   /hub/spawn/otso/algo2026                                 403      opened   404      opened   404
GET    /hub/spawn/otso/secret                                   login    403      404      403      404
POST   /hub/spawn/otso/secret                                   403      403      404      403      404
GET    /hub/spawn-pending/otso                                  login    200      404      200      404
GET    /hub/spawn-pending/otso/algo2026                         login    opened   404      opened   404
POST   /hub/stop/secret                                         403      home     home     home     404
POST   /hub/seen/algo2026                                       403      home     home     home     404
GET    /hub/admin                                               login    403      403      200      404
POST   /hub/admin/stop/otso/nothing                             403      403      403      404      404
GET    /hub/token                                               login    200      200      200      404
POST   /hub/token                                               403      403      403      403      404 {"password": "wrong"}
POST   /hub/token                                               403      200      403      403      404 {"password": "correct horse otso"}
POST   /hub/token/a99999                                        403      >/hub/token >/hub/token >/hub/token 404
# Sharing of servers: off
GET    /hub/accept-share                                        403      403      403      403      404
POST   /hub/accept-share                                        403      403      403      403      404
# Addresses of servers that the proxy knows no route for
GET    /hub/user/otso/algo2026/                                 login    opened   404      404      404
GET    /hub/user/otso/nothing/                                  login    424      404      404      404
POST   /hub/user/otso/algo2026/api                              424      424      424      424      404
PATCH  /hub/user/otso/algo2026/api                              424      424      424      424      404
DELETE /hub/user/otso/algo2026/api                              424      424      424      424      404
GET    /hub/user-redirect/algo2026/lab                          login    >/hub/go/algo2026 >/hub/go/algo2026 >/hub/go/algo2026 404
GET    /hub/go/algo2026/notebooks/x.ipynb                       login    >/user/otso/algo2026/lab/tree/notebooks/x.ipynb - - 404
# What machines ask
POST   /hub/security/csp-report                                 403      200      200      200      404
GET    /hub/metrics                                             403      403      403      200      404
GET    /hub/api/metrics                                         403      403      403      200      403
GET    /hub/api                                                 200      200      200      200      200
GET    /hub/api/                                                200      200      200      200      200
GET    /hub/api/info                                            403      403      403      200      403
# The API: people and servers
GET    /hub/api/user                                            403      200      200      200      200
GET    /hub/api/users                                           403      403      403      200      403
POST   /hub/api/users                                           403      403      403      403      403 {"usernames": ["eve"]}
GET    /hub/api/users/otso                                      403      200      404      200      200
POST   /hub/api/users/eve                                       403      403      403      403      403
PATCH  /hub/api/users/otso                                      403      403      403      403      403 {"admin": true}
DELETE /hub/api/users/otso                                      403      403      403      403      403
GET    /hub/api/users/otso/server                               403      200      404      200      403
POST   /hub/api/users/otso/server                               403      403      404      403      403
PUT    /hub/api/users/otso/server                               403      403      404      403      403
PATCH  /hub/api/users/otso/server                               403      403      404      403      403
DELETE /hub/api/users/otso/server                               403      204      404      204      403
GET    /hub/api/users/otso/servers/algo2026                     403      200      404      200      403
POST   /hub/api/users/otso/servers/secret                       403      403      404      403      403
PUT    /hub/api/users/otso/servers/secret                       403      403      404      403      403
PATCH  /hub/api/users/otso/servers/algo2026                     403      403      404      403      403
DELETE /hub/api/users/otso/servers/nothing                      403      404      404      404      403
# Names for the gradebook: an instructor's own server
POST   /hub/api/users/otso/servers/algo2026/students            403      404      404      404      404 {"usernames": ["aino"]}
POST   /hub/api/users/aino/servers/scip-instructor/students     403      404      200      404      404 {"usernames": ["otso"]}
GET    /hub/api/users/otso/server/progress                      403      400      404      400      403
GET    /hub/api/users/otso/servers/algo2026/progress            403      200      404      200      403
GET    /hub/api/users/otso/tokens                               403      200      404      404      403
POST   /hub/api/users/otso/tokens                               403      403      403      403      403
POST   /hub/api/users/otso/tokens                               403      403      403      403      403 {"auth": {"username": "otso", "password": "correct horse otso"}}
GET    /hub/api/users/otso/tokens/a99999                        403      404      404      404      403
DELETE /hub/api/users/otso/tokens/a99999                        403      404      404      404      403
POST   /hub/api/users/otso/activity                             403      200      404      404      200 {"last_activity": "2026-11-29T09:00:00Z"}
POST   /hub/api/users/otso/admin-access                         403      403      404      403      403
# The API: sharing is off
GET    /hub/api/users/otso/shared                               403      403      403      403      403
GET    /hub/api/users/otso/shared/aino/scip                     403      403      403      403      403
DELETE /hub/api/users/otso/shared/aino/scip                     403      403      403      403      403
GET    /hub/api/shares/otso                                     403      403      403      403      403
GET    /hub/api/shares/otso/algo2026                            403      403      403      403      403
POST   /hub/api/shares/otso/algo2026                            403      403      403      403      403 {"user": "aino"}
PATCH  /hub/api/shares/otso/algo2026                            403      403      403      403      403 {"user": "aino"}
DELETE /hub/api/shares/otso/algo2026                            403      403      403      403      403
POST   /hub/api/shares/otso                                     403      403      403      403      403
PATCH  /hub/api/shares/otso                                     403      403      403      403      403
DELETE /hub/api/shares/otso                                     403      403      403      403      403
GET    /hub/api/share-codes/otso                                403      403      403      403      403
POST   /hub/api/share-codes/otso                                403      403      403      403      403
DELETE /hub/api/share-codes/otso                                403      403      403      403      403
GET    /hub/api/share-codes/otso/algo2026                       403      403      403      403      403
POST   /hub/api/share-codes/otso/algo2026                       403      403      403      403      403
DELETE /hub/api/share-codes/otso/algo2026                       403      403      403      403      403
GET    /hub/api/groups/g/shared                                 403      403      403      403      403
GET    /hub/api/groups/g/shared/aino/scip                       403      403      403      403      403
DELETE /hub/api/groups/g/shared/aino/scip                       403      403      403      403      403
# The API: groups, services, the hub itself
GET    /hub/api/groups                                          403      403      403      403      403
POST   /hub/api/groups                                          403      403      403      403      403 {"groups": ["g"]}
GET    /hub/api/groups/g                                        403      403      403      404      403
POST   /hub/api/groups/g                                        403      403      403      403      403
DELETE /hub/api/groups/g                                        403      403      403      403      403
POST   /hub/api/groups/g/users                                  403      403      403      403      403 {"users": ["otso"]}
DELETE /hub/api/groups/g/users                                  403      403      403      403      403 {"users": ["otso"]}
PUT    /hub/api/groups/g/properties                             403      403      403      403      403
GET    /hub/api/services                                        403      403      403      200      403
GET    /hub/api/services/courseyard-culler                      403      403      403      200      403
POST   /hub/api/services/new                                    403      403      403      403      403
DELETE /hub/api/services/courseyard-culler                      403      403      403      403      403
GET    /hub/api/proxy                                           403      403      403      403      403
POST   /hub/api/proxy                                           403      403      403      403      403
PATCH  /hub/api/proxy                                           403      403      403      403      403 {"ip": "127.0.0.1"}
POST   /hub/api/shutdown                                        403      403      403      403      403
# The API: who somebody is
GET    /hub/api/authorizations/cookie/jupyterhub-hub-login/x    404      404      404      404      404
GET    /hub/api/authorizations/token                            404      404      404      404      404
GET    /hub/api/authorizations/token/x                          404      404      404      404      404
POST   /hub/api/authorizations/token                            404      404      404      404      404
POST   /hub/api/authorizations/token/x                          404      404      404      404      404
GET    /hub/api/oauth2/authorize                                login    400      400      400      login
POST   /hub/api/oauth2/authorize                                403      400      400      400      403
POST   /hub/api/oauth2/token                                    400      400      400      400      400
# What ends a server, and the log-in
POST   /hub/admin/stop/otso/algo2026                            -        -        403      >/hub/admin -
DELETE /hub/api/users/otso/servers/algo2026                     403      204      404      -        403
GET    /hub/logout                                              login    login    login    login    404
"""
_LEADS = {
    "/hub/login": "login",
    "/hub/home": "home",
    "/user/otso/algo2026/": "opened",
    "/hub/spawn-pending/{asker}/algo2026": "started",
    "/hub/spawn-pending/{asker}/secret": "started",
    "/user/{asker}/secret/": "started",
}


@dataclass(frozen=True)
class Row:
    method: str
    path: str
    answers: dict[str, str]
    body: dict[str, Any] | None


def rows() -> list[Row]:
    found = []
    for line in TABLE.strip().splitlines():
        if line.startswith("#"):
            continue
        told, brace, body = line.partition(" {")
        method, path, *answers = told.split()
        data = json.loads(brace + body) if brace else None
        found.append(Row(method, path, dict(zip(ASKERS, answers, strict=True)), data))
    return found


def answer(reply: Any, asker: str, base: str) -> str:
    """A reply as the table says it."""
    if reply.status_code not in (301, 302, 303, 307, 308):
        return str(reply.status_code)
    path = reply.headers["Location"].partition("?")[0].removeprefix(base)
    leads = {known.format(asker=asker): word for known, word in _LEADS.items()}
    return leads.get(path, f">{path}")
