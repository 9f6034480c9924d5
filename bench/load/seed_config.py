"""The baseline: JupyterHub and KubeSpawner with a profile list and a pre-spawn hook.

So the system that Courseyard follows does it: one function makes a list of profiles from the course
files, read anew when one has changed; a hook before each start puts the person's and the course's
mounts, groups and environment into the spawner. Its calls of ``ssh`` and of the machine's directory,
which blocked the hub, are left out: people and groups come from a file read once.
"""

# mypy: ignore-errors
# ruff: noqa: F821
import json
import os
from pathlib import Path

import yaml
from jupyterhub_traefik_proxy.fileprovider import TraefikFileProviderProxy

COURSES = Path("/srv/courses")
PEOPLE = yaml.load(Path("/srv/site/people.yaml").read_text(), yaml.CSafeLoader)["people"]
SETTINGS = json.loads(Path("/srv/site/settings.json").read_text())
IMAGE = SETTINGS["image"]

_read: dict = {}


def get_courses() -> dict:
    """All courses; files that have changed are read again."""
    for file in sorted(COURSES.glob("*.yaml")):
        changed = file.stat().st_mtime
        if _read.get(file.stem, (0,))[0] != changed:
            _read[file.stem] = (changed, yaml.load(file.read_text(), yaml.CSafeLoader))
    return {slug: course for slug, (_, course) in _read.items()}


def profile_list(spawner) -> list:
    """The profiles of a person: the general ones, and the courses that are shown."""
    user = spawner.user.name
    profiles = [{"display_name": "General use", "slug": "general", "default": True}]
    for slug, course in get_courses().items():
        students, instructors = course.get("students", []), course.get("instructors", [])
        if course.get("archive"):
            continue
        if course.get("private") and user not in students and user not in instructors:
            continue
        override = {"image": IMAGE, **course.get("kubespawner_override", {})}
        entry = {"display_name": course["name"], "kubespawner_override": override}
        profiles.append({**entry, "slug": slug})
        if user in instructors:
            title = f"{course['name']} (instructor)"
            profiles.append({**entry, "display_name": title, "slug": f"{slug}-instructor"})
    return profiles


def pre_spawn_hook(spawner) -> None:
    """What of a server depends on the person and the course."""
    user = spawner.user.name
    slug = (spawner.user_options or {}).get("profile", "general")
    instructor = slug.endswith("-instructor")
    course = get_courses().get(slug.removesuffix("-instructor"), {})
    uid = PEOPLE[user]["uid"]
    spawner.uid, spawner.gid = uid, course.get("gid") or 20000
    spawner.environment = {"NB_USER": user, "NB_UID": str(uid), "HOME": "/tmp"}
    spawner.container_security_context = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    own = f"u/{uid % 100:02d}/{user}"
    mounts = [{"name": "storage", "mountPath": "/notebooks", "subPath": own}]
    if course.get("gid"):
        base = f"course/{slug.removesuffix('-instructor')}"
        mounts += [{"name": "storage", "mountPath": "/coursedata", "subPath": f"{base}/data"}]
        if instructor:
            mounts += [{"name": "storage", "mountPath": "/course", "subPath": f"{base}/files"}]
    # The folders themselves are made in the pod by root there; here nothing runs, so none are.
    if SETTINGS["simulated"]:
        claim = {"claimName": "storage"}
        spawner.volumes = [{"name": "storage", "persistentVolumeClaim": claim}]
        spawner.volume_mounts = mounts


class Proxy(TraefikFileProviderProxy):
    pass


c = get_config()
c.JupyterHub.proxy_class = Proxy
c.Proxy.should_start = False
c.Proxy.traefik_api_url = "http://127.0.0.1:8099"
c.Proxy.traefik_api_username = "hub"
c.Proxy.traefik_api_password = SETTINGS["proxy_password"]
c.Proxy.traefik_entrypoint = "web"
c.Proxy.traefik_api_entrypoint = "api"
c.Proxy.dynamic_config_file = "/routes/rules.toml"
c.Proxy.static_config_file = "/routes/unused.toml"
c.JupyterHub.bind_url = "http://:8000"
c.JupyterHub.hub_bind_url = "http://:8081"
c.JupyterHub.hub_connect_url = f"http://hub.{SETTINGS['namespace']}.svc.cluster.local:8081"
c.JupyterHub.db_url = "sqlite:////state/hub.sqlite"
c.JupyterHub.cookie_secret_file = "/state/cookie-secret"
c.JupyterHub.cleanup_servers = False
c.JupyterHub.cleanup_proxy = False
c.JupyterHub.allow_named_servers = True
c.JupyterHub.concurrent_spawn_limit = 100
c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.services = [{"name": "bench", "api_token": SETTINGS["token"]}]
c.JupyterHub.load_roles = [
    {"name": "bench", "scopes": SETTINGS["scopes"], "services": ["bench"]},
]
c.Spawner.consecutive_failure_limit = 0
c.Spawner.default_url = "/lab"
c.KubeSpawner.namespace = f"{SETTINGS['namespace']}-users"
c.KubeSpawner.pod_name_template = "server-{user_server}"
c.KubeSpawner.image = IMAGE
c.KubeSpawner.image_pull_policy = "IfNotPresent"
# The image's own start program wants a plan; `cmd` alone are words for it.
c.KubeSpawner.extra_container_config = {"command": ["/opt/image/bin/python"]}
c.KubeSpawner.cmd = ["-m", "jupyterhub.singleuser"]
c.KubeSpawner.start_timeout = 300
c.KubeSpawner.http_timeout = 120
c.KubeSpawner.mem_limit = "2G"
c.KubeSpawner.mem_guarantee = "256M"
c.KubeSpawner.cpu_limit = 2
c.KubeSpawner.cpu_guarantee = 0.1
c.KubeSpawner.automount_service_account_token = False
c.KubeSpawner.node_selector = SETTINGS["node_selector"]
c.KubeSpawner.tolerations = SETTINGS["tolerations"]
c.KubeSpawner.profile_list = profile_list
c.KubeSpawner.pre_spawn_hook = pre_spawn_hook
os.umask(0o022)
