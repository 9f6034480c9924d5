"""``kubespawner_override`` of a course file: a list of keys and nothing else (DOMAIN.md)."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from courseyard.hints import did_you_mean, shown
from courseyard.registry import fields
from courseyard.registry.course import Override
from courseyard.registry.reader import Reader, Where
from courseyard.units import parse_bytes, parse_cores, parse_duration

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
#: A label or resource name of Kubernetes: an optional DNS prefix, then a name
#: (https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/).
_LABEL = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
)
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)([EPTGMk]i?|m)?")
_SUFFIX = {"m": Decimal("0.001"), "": Decimal(1)}
for _power, _letter in enumerate("kMGTPE", 1):
    _SUFFIX |= {_letter: Decimal(1000) ** _power, f"{_letter}i": Decimal(1024) ** _power}
_PULL = ("Always", "IfNotPresent", "Never")

#: Variables that Courseyard or JupyterHub sets, or by which a program is told to run other code.
_SET_BY_US = frozenset(
    (
        *("HOME", "PATH", "USER", "LOGNAME", "SHELL", "TZ", "PWD", "TMPDIR", "UMASK", "IFS"),
        *("BASH_ENV", "ENV", "COURSEDATA", "MEM_LIMIT", "MEM_GUARANTEE"),
        *("CPU_LIMIT", "CPU_GUARANTEE", "CONFIGPROXY_AUTH_TOKEN"),
        *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
        *("NUMEXPR_NUM_THREADS", "JULIA_NUM_THREADS"),
    )
)
_PREFIXES = (
    *("JUPYTERHUB_", "JUPYTER_", "JPY_", "NB_", "NBGRADER_", "PYTHON", "LD_"),
    *("COURSEYARD_", "KUBERNETES_", "XDG_"),
)
#: What would change who a server runs as, what it mounts, or what runs beside it; no setting of
#: a site allows it.
_NEVER = frozenset(
    (
        *("uid", "gid", "fs_gid", "supplemental_gids", "run_as_uid", "run_as_gid", "privileged"),
        *("allow_privilege_escalation", "container_security_context", "pod_security_context"),
        *("service_account", "automount_service_account_token", "cmd", "args", "namespace"),
        *("volumes", "volume_mounts", "init_containers", "extra_containers", "lifecycle_hooks"),
        *("extra_pod_config", "extra_container_config", "extra_labels", "extra_annotations"),
        *("common_labels", "modify_pod_hook", "after_pod_created_hook", "pre_spawn_hook"),
        *("enable_user_namespaces", "services_enabled", "profile_list", "pod_name_template"),
    )
)


def is_reserved_variable(name: str, marker: str = "") -> bool:
    """Whether a course or site may not set the environment variable ``name``."""
    upper = name.upper()
    return upper in _SET_BY_US or upper.startswith(_PREFIXES) or upper == marker


def never_allowed(key: str) -> bool:
    """Whether not even ``servers.allow_override`` lets a course file set ``key``."""
    return key in _NEVER


def override(reader: Reader, path: Where, value: Any) -> Override:
    """The parser of ``kubespawner_override``."""
    if not reader.is_mapping(path, value):
        return Override()
    found: dict[str, Any] = {}
    allowed: dict[str, Any] = {}
    for key, item in value.items():
        place = (*path, key)
        if key in PARSERS:
            if item is not None:
                found[key] = PARSERS[key](reader, place, item)
        elif key in reader.rules.allow_override and not never_allowed(key):
            allowed[key] = item
        elif never_allowed(key):
            reader.wrong(
                place, "is refused: it would change as whom, or what, the course's servers run"
            )
        else:
            more = f"; a site can allow it in courseyard.yaml: servers: {{allow_override: [{_bare(key)}]}}"
            reader.wrong(place, f"is not one of the allowed keys{did_you_mean(key, PARSERS)}{more}")
    if not reader.broken:
        _check_guarantees(reader, path, found)
    return Override() if reader.broken else Override(**found, site_allowed=allowed)


def _bare(key: str) -> str:
    """``key`` without the quotes of :func:`shown`."""
    return shown(key).strip("'\"")


def _check_guarantees(reader: Reader, path: Where, found: dict[str, Any]) -> None:
    servers = reader.rules.site.servers
    for kind in ("mem", "cpu"):
        guarantee = found.get(f"{kind}_guarantee")
        limit = found.get(f"{kind}_limit")
        whose = ""
        if limit is None:
            limit, whose = getattr(servers, f"{kind}_limit"), "the site's "
        if guarantee is not None and guarantee > limit:
            reader.wrong((*path, f"{kind}_guarantee"), f"is over {whose}`{kind}_limit`")
    limits = found.get("extra_resource_limits", {})
    for name, amount in found.get("extra_resource_guarantees", {}).items():
        place = (*path, "extra_resource_guarantees", name)
        if name in limits and _amount(amount) > _amount(limits[name]):
            reader.wrong(place, f"is over the limit, which is {limits[name]}")


def _amount(quantity: str) -> Decimal:
    match = _QUANTITY.fullmatch(quantity)
    return Decimal(match[1]) * _SUFFIX[match[2] or ""] if match else Decimal(0)


def _unit(parse: Callable[[Any], Any], *, positive: bool = True) -> Callable[..., Any]:
    def parser(reader: Reader, path: Where, value: Any) -> Any:
        try:
            amount = parse(value)
        except ValueError as error:
            reader.wrong(path, f"{shown(value)}: {error}")
            return None
        if positive and amount <= 0:
            reader.wrong(path, "must be more than 0")
        return amount

    return parser


def _strings(reader: Reader, path: Where, value: Any) -> dict[str, str]:
    """Labels: names and values are text."""
    if not reader.is_mapping(path, value):
        return {}
    for key, item in value.items():
        if not _LABEL.fullmatch(key):
            reader.wrong((*path, key), f"{shown(key)} is not the name of a label")
        if not isinstance(item, str):
            reader.wrong((*path, key), f"must be text; put {shown(item)} in quotes")
        elif len(item) > 63 or (item and not _LABEL.fullmatch(item)) or "/" in item:
            reader.wrong((*path, key), f"{shown(item)} is not the value of a label")
    return {key: str(item) for key, item in value.items()}


def _resources(reader: Reader, path: Where, value: Any) -> dict[str, str]:
    """Amounts of resources such as ``nvidia.com/gpu: 1``."""
    if not reader.is_mapping(path, value, " such as nvidia.com/gpu: 1"):
        return {}
    found = {}
    for key, item in value.items():
        text = str(item) if isinstance(item, int) and not isinstance(item, bool) else item
        if not _LABEL.fullmatch(key):
            reader.wrong((*path, key), f"{shown(key)} is not the name of a resource")
        if not isinstance(text, str) or len(text) > 30 or not _QUANTITY.fullmatch(text):
            reader.wrong((*path, key), f"{shown(item)} is not an amount such as 1")
        found[key] = str(text)
    return found


def _environment(reader: Reader, path: Where, value: Any) -> dict[str, str]:
    if not reader.is_mapping(path, value):
        return {}
    marker = reader.rules.site.servers.marker
    for name, item in value.items():
        place = (*path, name)
        if not _VARIABLE.fullmatch(name):
            reader.wrong(place, "is not the name of a variable: letters, digits and _")
        elif is_reserved_variable(name, marker):
            reader.wrong(place, "is set by Courseyard or JupyterHub; leave it out")
        if not isinstance(item, str):
            reader.wrong(place, f"must be text; put {shown(item)} in quotes")
        elif "\0" in item or len(item) > 32 * 1024:
            reader.wrong(place, "is too long, or holds a NUL character")
    return dict(value)


def _mappings(reader: Reader, path: Where, value: Any) -> tuple[dict[str, Any], ...]:
    if not reader.is_list(path, value, " of mappings"):
        return ()
    for index, item in enumerate(value):
        reader.is_mapping((*path, index), item)
    return tuple(item for item in value if isinstance(item, dict))


_TOLERATION = (*("key", "operator", "value", "effect", "tolerationSeconds", "toleration_seconds"),)


def _tolerations(reader: Reader, path: Where, value: Any) -> tuple[dict[str, Any], ...]:
    found = _mappings(reader, path, value)
    for index, item in enumerate(found):
        for key, part in item.items():
            place = (*path, index, key)
            if key not in _TOLERATION:
                reader.unknown(place, _TOLERATION)
            elif not key.endswith("econds") and not isinstance(part, str):
                reader.wrong(place, f"must be text; put {shown(part)} in quotes")
    return found


def _label(reader: Reader, path: Where, value: Any) -> str:
    if not isinstance(value, str) or not _LABEL.fullmatch(value):
        reader.wrong(path, f"{shown(value)} is not a name of Kubernetes")
    return str(value)


def _pull_policy(reader: Reader, path: Where, value: Any) -> str:
    if value not in _PULL:
        hint = did_you_mean(str(value), _PULL)
        reader.wrong(path, f"must be one of {', '.join(_PULL)}{hint}")
    return str(value)


def _url_path(reader: Reader, path: Where, value: Any) -> str:
    text = fields.line_of_text(reader, path, value)
    if isinstance(value, str) and (not text.startswith("/") or text.startswith("//")):
        reader.wrong(path, "must be a path of the server such as /lab or /tree")
    return text


PARSERS: dict[str, Callable[[Reader, Where, Any], Any]] = {
    "cpu_limit": _unit(parse_cores),
    "cpu_guarantee": _unit(parse_cores, positive=False),
    "mem_limit": _unit(parse_bytes),
    "mem_guarantee": _unit(parse_bytes, positive=False),
    "extra_resource_limits": _resources,
    "extra_resource_guarantees": _resources,
    "node_selector": _strings,
    "tolerations": _tolerations,
    "node_affinity_required": _mappings,
    "node_affinity_preferred": _mappings,
    "priority_class_name": _label,
    "environment": _environment,
    "image": fields.image,
    "image_pull_policy": _pull_policy,
    "default_url": _url_path,
    "start_timeout": _unit(parse_duration),
    "http_timeout": _unit(parse_duration),
    "cull_inactive_time": _unit(parse_duration, positive=False),
    "cull_max_age": _unit(parse_duration, positive=False),
}
