"""The site file ``courseyard.yaml`` as values: what each setting means, its unit and its default.

The reference of settings in the docs is generated from these descriptions, so a setting without
one fails the tests. Relative paths are relative to the site file's folder.
"""

from __future__ import annotations

import re
from datetime import tzinfo
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from courseyard.networks import Network
from courseyard.units import Bytes, Cores, Seconds

SITE_FILE = "courseyard.yaml"
#: UIDs and GIDs below are the system's own and never run a server (DOMAIN.md, Identity).
LOWEST_ID = 1000
#: UIDs that graded code runs under: nobody's, so no file is theirs. They lie above what directories
#: give out (SSSD ends at 2,000,200,000) and below 2^31, where Kubernetes ends.
GRADING_UIDS = range(2_100_000_000, 2_140_000_000)
HIGHEST_UID = GRADING_UIDS.start - 1


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{value!r} is not a time zone; write one like Europe/Helsinki") from None
    return value


def _registry(value: str) -> str:
    # github.com/distribution/reference: a host with a port, then parts in small letters
    if value and not re.fullmatch(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[a-z0-9._-]+)*/?", value):
        raise ValueError(f"{value!r} must be a host and a path, such as registry.example.org/x")
    return value


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return value


def _absolute(value: str) -> str:
    parts = value.split("/")
    if not value.startswith("/") or value == "/" or ".." in parts or "//" in value:
        raise ValueError("write an absolute path such as /srv/jupyter")
    return value.rstrip("/")


def _public_url(value: str) -> str:
    if not re.fullmatch(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?/([A-Za-z0-9._~-]+/)*", value):
        raise ValueError(
            f"{value!r} must be the address that people open, to its last /, such as "
            "https://jupyter.example.org/"
        )
    return value


class Settings(BaseModel):
    """Base of all parts of the site file: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


_GROUP_NAME = r"^[a-z_][a-z0-9_.-]{0,31}$"
_COLOUR = r"^#[0-9a-fA-F]{6}$"
_VARIABLE = r"^[A-Z][A-Z0-9_]*$"
_DNS_LABEL = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
#: What a text of each form is, for people.
FORMS = {
    _GROUP_NAME: "the name of a group; write small letters, digits, _, . and -, such as users",
    _COLOUR: "a colour; write # and six of the signs 0-9 and a-f in quotes, such as '#0a6c74'",
    _VARIABLE: "the name of a variable; write capital letters, digits and _, such as MY_HUB",
    _DNS_LABEL: "a name of Kubernetes; write small letters, digits and -, such as courseyard",
}


class GroupSetting(Settings):
    name: str = Field(description="Name of the group.", pattern=_GROUP_NAME)
    gid: int = Field(description="Its GID.", ge=LOWEST_ID)


class Branding(Settings):
    """What a site shows of itself on its pages."""

    logo: Path | None = Field(None, description="An SVG or PNG file shown beside the site's name.")
    accent: str = Field(
        "#0a6c74",
        pattern=_COLOUR,
        description="The one colour for the next thing to do, on a light ground.",
    )
    accent_dark: str = Field("#4fb8bf", pattern=_COLOUR, description="The same on a dark ground.")


class StorageSettings(Settings):
    """Where the files of users and courses lie."""

    root: Path = Field(
        Path("storage"),
        description="The storage root on this machine: `u/`, `course/`, `exchange/`, ….",
    )
    public_root: Annotated[str, AfterValidator(_absolute)] = Field(
        "/m/jupyter",
        description="The path under which the same files are seen inside servers and on shell servers.",
    )
    home_links: tuple[str, ...] = Field(
        (),
        description="More files or folders (a folder ends in /) of the home directory that persist, "
        "through links into /notebooks/.home/.",
    )

    @field_validator("home_links")
    @classmethod
    def _inside_home(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for link in value:
            parts = link.rstrip("/").split("/")
            if link.startswith("/") or not link.strip("/") or ".." in parts or "." in parts:
                raise ValueError(f"{link!r} must be a path inside the home directory")
        return value


class PeopleSettings(Settings):
    """Where users come from and what they may be called."""

    source: Literal["static", "nss"] = Field(
        "static",
        description="`static`: the people file; `nss`: the machine's own users and groups "
        "(files, SSSD, LDAP through NSS).",
    )
    file: Path = Field(Path("people.yaml"), description="The people file of the source `static`.")
    username_pattern: Annotated[str, AfterValidator(_pattern)] = Field(
        r"[a-z_][a-z0-9_.-]{0,31}", description="What a whole username must match; never root."
    )
    users_group: GroupSetting = Field(
        GroupSetting(name="users", gid=20000),
        description="The primary group of general and student servers.",
    )
    course_group_prefix: str = Field(
        "jupyter-", description="Members of the group <prefix><slug> are instructors of the course."
    )
    administrators: tuple[str, ...] = Field(
        (), description="Usernames of the hub's administrators."
    )
    test_students: tuple[str, ...] = Field(
        (), description="Usernames that see private courses as a student, for trying them out."
    )
    max_uid: int = Field(HIGHEST_UID, description="The highest UID a server may run under.")
    timeout: Seconds = Field(5, description="How long one look-up may take. Seconds or 5s.")
    cache: Seconds = Field(300, description="How long an answer is kept.")
    cache_unknown: Seconds = Field(30, description="How long 'nobody has this name' is kept.")


class Environment(Settings):
    """A general environment: light computing without a course."""

    name: str = Field(description="Its title on the course page.", min_length=1, max_length=100)
    description: str = Field("", description="One line below the title.", max_length=200)
    image: str | tuple[str, Any] = Field(
        "DEFAULT", description="As a course's `image`: a family, or `[family, date]`."
    )
    jupyterlab: bool = Field(True, description="False: the classic notebook interface.")


class ServerSettings(Settings):
    """Limits and culling of servers where a course says nothing else; see DOMAIN defaults."""

    mem_limit: Bytes = Field(5 * 1024**3, description="Memory a server may use. Bytes or 5G.")
    mem_guarantee: Bytes = Field(512 * 1024**2, description="Memory it can count on.")
    mem_guarantee_instructor: Bytes = Field(1024**3, description="The same for instructor servers.")
    cpu_limit: Cores = Field(4.0, description="Cores a server may use.")
    cpu_guarantee: Cores = Field(0.1, description="Cores it can count on.")
    processes: int = Field(
        1000,
        ge=16,
        description="Processes and threads a server may have; in a cluster all servers of a person on one node "
        "together, and each of them by the kubelet's podPidsLimit.",
    )
    tmp_size: Bytes = Field(
        1024**3, description="Size of /tmp and of the home directory, each; counts as memory."
    )
    shm_size: Bytes = Field(256 * 1024**2, description="Size of /dev/shm; counts as memory.")
    cull_inactive_time: Seconds = Field(3600, description="Stopped when unused for so long.")
    cull_max_age: Seconds = Field(8 * 3600, description="Stopped at this age, used or not.")
    start_timeout: Seconds = Field(300, description="How long a start may take.")
    http_timeout: Seconds = Field(60, description="How long a started server may take to answer.")
    per_user: int = Field(3, ge=1, description="Servers that one person may run at once.")
    all_users: int = Field(
        0, ge=0, description="Servers that all people together may run at once; 0 is no limit."
    )
    starting: int = Field(
        100, ge=1, description="Servers that may be starting at once; more are asked to wait."
    )
    network: Literal["none", "full"] = Field(
        "none", description="What a server reaches beside the hub: nothing, or the internet."
    )
    environment: dict[str, str] = Field(
        default_factory=dict, description="Environment variables of every server."
    )
    marker: str = Field(
        "COURSEYARD",
        pattern=_VARIABLE,
        description="Name of the variable that is set to 1 in every server, so that programs know "
        "where they run.",
    )
    allow_override: tuple[str, ...] = Field(
        (),
        description="Keys that `kubespawner_override` of course files may hold beside the usual ones.",
    )


class TlsSettings(Settings):
    """How the proxy speaks HTTPS: a certificate of the site's, or ACME."""

    certificate: Path | None = Field(None, description="The certificate chain, a PEM file.")
    key: Path | None = Field(None, description="Its private key, a PEM file.")
    acme_email: str | None = Field(
        None, description="Contact address: get certificates by ACME (Let's Encrypt)."
    )
    acme_domain: str | None = Field(None, description="The domain name to get a certificate for.")


class ProxySettings(Settings):
    """Traefik, the proxy; it runs apart from the hub."""

    tls: TlsSettings = Field(TlsSettings(), description="HTTPS.")
    access_log: Path | None = Field(None, description="Where the access log goes; none by default.")
    login_rate: int = Field(
        300,
        ge=1,
        description="Log-ins a minute that one address may send, right ones too: a class behind one "
        "address must fit. Wrong passwords are counted more tightly, by the hub.",
    )
    trusted_proxies: tuple[Network, ...] = Field(
        (),
        description="Addresses and networks of proxies in front of this one, such as an ingress or a "
        "load balancer. They, and nobody else, are believed whom a request comes from and whether "
        "it came by HTTPS. Never a network that people or servers are in.",
    )
    metrics_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="Serve Prometheus metrics of the proxy on this loopback port.",
    )
    api_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="The loopback port on which the hub asks the proxy for its routes; "
        "`hub.port` + 2 by default.",
    )


class HubSettings(Settings):
    """JupyterHub itself."""

    address: str = Field("127.0.0.1", description="The address the proxy listens on.")
    port: int = Field(8000, ge=1, le=65535, description="The port the proxy listens on.")
    api_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="The port of the hub itself, behind the proxy; `port` + 1 by default.",
    )
    servers_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="The port on which servers reach the hub's API, and nothing else of the hub; "
        "`port` + 3 by default. It stays the same over restarts, because running servers talk to it.",
    )
    base_url: str = Field("/", description="The path below which everything lies; ends in /.")
    public_url: Annotated[str, AfterValidator(_public_url)] | None = Field(
        None,
        description="The address that people open, with `base_url` at its end, where another proxy or "
        "an ingress stands in front. Cookies are Secure when it is https.",
    )
    subdomains: bool = Field(
        False,
        description="Each person's servers at a host of their own, `<username>.<host of public_url>`, so "
        "that browsers keep people's servers apart from each other and from the hub. Needs `public_url`, "
        "a wildcard name in DNS and a wildcard certificate.",
    )
    database: str = Field(
        "sqlite:///{state}/hub/jupyterhub.sqlite",
        description="The hub's database; `{state}` is the state folder.",
    )
    account: str = Field(
        "courseyard",
        description="The ordinary account of the hub and the proxy where root starts them.",
    )
    authenticator: str = Field(
        "demo",
        description="`demo` (accounts of the people file), `pam`, or any name that JupyterHub's "
        "`authenticator_class` takes.",
    )
    authenticator_options: dict[str, Any] = Field(
        default_factory=dict,
        description="Traits of an authenticator of the site's own: `ClassName: {trait: value}`.",
    )
    sharing: bool = Field(
        False,
        description="Let people share their servers with each other, as JupyterHub can. Turning it off "
        "ends what is shared. Whoever opens a shared server opens a page that its owner controls.",
    )
    forget_after: Seconds = Field(
        30 * 86400,
        description="People not seen for so long leave the hub's database; their files stay.",
    )


class KubernetesSettings(Settings):
    """Where servers run when `backend` is `kubernetes`; the sandbox does not read it."""

    namespace: str = Field(
        "courseyard", pattern=_DNS_LABEL, description="The namespace of hub and proxy."
    )
    users_namespace: str = Field(
        "courseyard-users",
        pattern=_DNS_LABEL,
        description="The namespace of people's servers: another one, under Pod Security `restricted`.",
    )
    site_label: str = Field(
        "courseyard",
        pattern=_DNS_LABEL,
        description="Value of the label `courseyard/site`, which tells the pods of two sites apart.",
    )
    storage_claim: str = Field(
        "courseyard-storage",
        pattern=_DNS_LABEL,
        description="The claim in the users' namespace behind which the storage root lies.",
    )
    hub_service: str = Field(
        "hub", pattern=_DNS_LABEL, description="The service by which servers reach the hub."
    )
    registry: Annotated[str, AfterValidator(_registry)] = Field(
        "",
        description="What stands before image references that name no host, such as "
        "registry.example.org/courseyard.",
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        "IfNotPresent", description="When a node fetches an image."
    )
    image_pull_secrets: tuple[str, ...] = Field(
        (), description="Secrets in the users' namespace with which images are fetched."
    )
    node_selector: dict[str, str] = Field(
        default_factory=dict, description="Labels of the nodes on which servers may run."
    )
    tolerations: tuple[dict[str, Any], ...] = Field(
        (), description="Taints that servers bear, as Kubernetes writes them."
    )
    hub_uid: int = Field(
        10001,
        ge=LOWEST_ID,
        description="The UID of the hub's container, which alone may ask the agent beside it.",
    )
    node_lost_after: Seconds = Field(
        60, description="How long a node may be silent until its servers count as lost."
    )


class Site(Settings):
    """A whole site: ``courseyard.yaml``."""

    name: str = Field("Courseyard", description="The site's name on its pages.", max_length=80)
    contact: str | None = Field(None, description="Help desk: an e-mail address or a web address.")
    timezone: Annotated[str, AfterValidator(_timezone)] = Field(
        "UTC", description="The time zone in which dates act, such as Europe/Helsinki."
    )
    branding: Branding = Field(Branding(), description="Logo and colour.")
    courses: Path = Field(Path("courses"), description="The folder of course files.")
    images: Path = Field(Path("images.yaml"), description="The list of software images.")
    state: Path = Field(Path("state"), description="Database, logs and sockets of the hub.")
    storage: StorageSettings = Field(StorageSettings(), description="Files of users and courses.")
    people: PeopleSettings = Field(PeopleSettings(), description="Who the users are.")
    environments: dict[str, Environment] = Field(
        default_factory=lambda: {"python": Environment(name="Python")},
        description="General environments by key; the first is the one that `/hub/go/general` opens.",
    )
    servers: ServerSettings = Field(ServerSettings(), description="Limits of servers.")
    hub: HubSettings = Field(HubSettings(), description="The hub.")
    proxy: ProxySettings = Field(ProxySettings(), description="The proxy.")
    backend: Literal["sandbox", "kubernetes"] = Field(
        "sandbox",
        description="Where servers run: `sandbox` is this one machine, `kubernetes` a cluster.",
    )
    kubernetes: KubernetesSettings = Field(
        KubernetesSettings(), description="The cluster, when `backend` is `kubernetes`."
    )
    #: The folder of the site file, set by the loader; not a key of the file.
    folder: Path = Field(Path(), exclude=True, json_schema_extra={"internal": True})

    @property
    def tz(self) -> tzinfo:
        return ZoneInfo(self.timezone)

    @property
    def ports(self) -> dict[tuple[str, str], int]:
        """Every port by the keys that set it; one that is not written is counted from ``hub.port``."""
        first = self.hub.port
        ports = {
            ("hub", "port"): first,
            ("hub", "api_port"): self.hub.api_port or first + 1,
            ("proxy", "api_port"): self.proxy.api_port or first + 2,
            ("hub", "servers_port"): self.hub.servers_port or first + 3,
        }
        if self.proxy.metrics_port:
            ports["proxy", "metrics_port"] = self.proxy.metrics_port
        return ports

    def path(self, path: Path) -> Path:
        """``path`` of the site file as an absolute one."""
        return path if path.is_absolute() else self.folder / path

    @property
    def courses_dir(self) -> Path:
        return self.path(self.courses)

    @property
    def state_dir(self) -> Path:
        return self.path(self.state)

    @property
    def storage_root(self) -> Path:
        return self.path(self.storage.root)

    @field_validator("environments")
    @classmethod
    def _environment_keys(cls, value: dict[str, Environment]) -> dict[str, Environment]:
        for key in value:
            if not re.fullmatch(r"[a-z][a-z0-9]{0,15}", key):
                raise ValueError(f"{key!r}: a key is 1 to 16 small letters and digits")
        return value
