"""courseyard.yaml: every problem at once, as file, line, key and message."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courseyard.errors import SettingsError
from courseyard.settings import FORMS, Site
from courseyard.sitefile import check_site, load_site

ROOT = Path(__file__).parents[2]


def problems(folder: Path, text: str) -> list[str]:
    (folder / "courseyard.yaml").write_text(text)
    return [str(p).removeprefix(f"{folder}/courseyard.yaml:") for p in check_site(folder)[1]]


def test_the_example() -> None:
    site = load_site(ROOT / "examples/university")
    assert site.folder == ROOT / "examples/university"
    assert site.courses_dir == ROOT / "examples/university/courses"
    assert site.servers.mem_limit == 2 * 1024**3
    assert check_site(ROOT / "examples/university")[1] == ()


def test_the_smallest(tmp_path: Path) -> None:
    assert problems(tmp_path, "name: X\n") == []
    assert load_site(tmp_path) == Site(name="X", folder=tmp_path)


def test_units_and_lists(tmp_path: Path) -> None:
    text = """\
servers: {mem_limit: 3G, cpu_limit: 500m, cull_max_age: 1h 30m, allow_override: [scheduler_name]}
environments: {r: {name: R, image: [R, 2026-09-01]}}
storage: {home_links: [.julia/]}
x-own: {anything: 1}
"""
    assert problems(tmp_path, text) == []
    site = load_site(tmp_path)
    assert site.servers.mem_limit == 3 * 1024**3
    assert site.servers.cpu_limit == 0.5
    assert site.servers.cull_max_age == 5400
    assert site.servers.allow_override == ("scheduler_name",)
    assert site.environments["r"].image == ("R", "2026-09-01")


def test_a_relative_folder_is_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems(tmp_path, "name: X\n")
    monkeypatch.chdir(tmp_path)
    assert load_site(Path()).folder == tmp_path


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="courseyard init"):
        load_site(tmp_path)


def test_everything_is_told_at_once(tmp_path: Path) -> None:
    text = """\
nmae: X
timezone: Europa/Helsinki
hub: {port: "8000", bse_url: /x}
people:
  administrators: ilkka
  users_group: {name: users}
servers:
  mem_limit: 5X
  network: ful
  environment: {A: 1}
  per_user: 0
environments:
  python: {name: 3, image: {a: b}}
proxy:
"""
    assert problems(tmp_path, text) == [
        "1: nmae: unknown key; did you mean name?",
        "2: timezone: 'Europa/Helsinki' is not a time zone; write one like Europe/Helsinki",
        "3: hub.port: must be a whole number; remove the quotes",
        "3: hub.bse_url: unknown key; did you mean base_url?",
        "5: people.administrators: must be a list",
        "6: people.users_group: `gid` is missing",
        "8: servers.mem_limit: an amount of memory is a number with a unit, such as 512M or 5G",
        "9: servers.network: must be one of none, full; did you mean full?",
        "10: servers.environment.A: must be text; put 1 in quotes",
        "11: servers.per_user: must be at least 1",
        "13: environments.python.name: must be text; put 3 in quotes",
        "13: environments.python.image: write a family such as DEFAULT or [DEFAULT, 2026-09-01]",
        "14: proxy: has no value; write one or leave the key out",
    ]
    with pytest.raises(SettingsError) as caught:
        load_site(tmp_path)
    assert len(caught.value.problems) == 13


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("servers: {mem_limit: 1G, mem_guarantee: 2G}", "servers.mem_guarantee: is over"),
        ("servers: {mem_limit: 900M}", "servers.mem_limit: is under `mem_guarantee_instructor`"),
        ("servers: {cpu_guarantee: 9}", "servers.cpu_guarantee: is over `cpu_limit`, which is 4"),
        ("servers: {tmp_size: 0}", "servers.tmp_size: must be more than 0"),
        ("servers: {environment: {PATH: x}}", "is set by Courseyard or JupyterHub"),
        ("servers: {environment: {'A B': x}}", "is not the name of a variable"),
        ("servers: {allow_override: [uid]}", "cannot be allowed"),
        ("servers: {allow_override: [mem_limit]}", "is allowed already"),
        ("proxy: {tls: {certificate: a.pem}}", "proxy.tls: `certificate` and `key` belong"),
        ("proxy: {tls: {key: a.pem}}", "proxy.tls: `certificate` and `key` belong"),
        ("proxy: {tls: {acme_email: a@b.c}}", "`acme_email` and `acme_domain` belong"),
        (
            "proxy: {tls: {certificate: a, key: b, acme_email: c, acme_domain: d}}",
            "either a certificate",
        ),
        ("proxy: {metrics_port: 8000}", "8000 is the port of `hub.port` too"),
        ("hub: {base_url: jupyter}", "hub.base_url: 'jupyter' must start and end with /"),
        ("hub: {public_url: jupyter.example.org}", "hub.public_url: 'jupyter.example.org' must be"),
        ("hub: {public_url: 'https://a@b/'}", "hub.public_url: 'https://a@b/' must be"),
        ("hub: {public_url: 'https://a/x/'}", "hub.public_url: must end in `base_url`, which is /"),
        (
            "hub: {public_url: 'https://a/', base_url: /x/}",
            "hub.public_url: must end in `base_url`, which is /x/",
        ),
        (
            "{hub: {public_url: 'http://a/'}, proxy: {tls: {certificate: a, key: b}}}",
            "hub.public_url: must start with https",
        ),
        ("hub: {subdomains: true}", "hub.subdomains: needs `public_url`"),
        (
            "hub: {subdomains: true, public_url: 'https://192.0.2.7/'}",
            "hub.subdomains: needs a name with a dot in `public_url`, such as "
            "https://jupyter.example.org/: '192.0.2.7' can have no hosts below it",
        ),
        ("hub: {subdomains: true, public_url: 'https://hub/'}", "'hub' can have no hosts below it"),
        ("hub: {subdomains: true, public_url: 'https://a..b/'}", "can have no hosts below it"),
        ("hub: {subdomains: true, public_url: 'https://-a.b/'}", "can have no hosts below it"),
        (
            f"hub: {{subdomains: true, public_url: 'https://{'a.' * 95}b/'}}",
            "can have no hosts below it",
        ),
        (
            "hub: {subdomains: true, public_url: 'http://hub.example.org/'}",
            "hub.subdomains: needs https in `public_url`",
        ),
        (
            "{hub: {subdomains: true, public_url: 'https://hub.example.org/'}, "
            "proxy: {tls: {acme_email: a@b.c, acme_domain: hub.example.org}}}",
            "hub.subdomains: needs a wildcard certificate, which ACME cannot get here",
        ),
        ("hub: {subdomains: 1}", "hub.subdomains: must be true or false"),
        (
            "kubernetes:\n  registry: https://registry.example.org/x\n",
            "2: kubernetes.registry: 'https://registry.example.org/x' must be a host and a path",
        ),
        ("kubernetes: {registry: 'registry.example.org/Team A'}", "must be a host and a path"),
        ("proxy: {trusted_proxies: 10.0.0.1}", "proxy.trusted_proxies: must be a list"),
        (
            "proxy: {trusted_proxies: [10.0.0.1, '*']}",
            "1: proxy.trusted_proxies[1]: '*' is not an address or a network",
        ),
        (
            "proxy:\n  trusted_proxies:\n    - 10.0.0.1\n    - 0.0.0.0/0\n",
            "4: proxy.trusted_proxies[1]: '0.0.0.0/0' would let everybody in it say",
        ),
        ("hub: {account: root}", "never root"),
        ("hub: {authenticator_options: {A: 1}}", "must hold `trait: value` lines"),
        ("people: {source: nss}", "`demo` needs"),
        ("people: {administrators: [root]}", "people.administrators[0]: 'root' is not"),
        ("people: {test_students: ['A B']}", "people.test_students[0]: 'A B' is not"),
        ("people: {max_uid: 2147483647}", "must be at most 2099999999: graded code"),
        ("people: {username_pattern: '.*'}", "no safe folder names"),
        ("people: {username_pattern: '['}", "not a regular expression"),
        ("state: storage/state", "state: lies inside the storage root"),
        ("storage: {root: state/x}", "storage.root: lies inside the state folder"),
        ("storage: {root: .}", "must be a folder for the files"),
        ("storage: {public_root: m}", "write an absolute path"),
        ("environments: {}", "environments: is empty"),
        ("environments: {A: {name: A}}", "small letters and digits"),
        ("environments: {a: {name: A, image: a b}}", "is not an image"),
        ('environments: {a: {name: "A\\nB"}}', "control character"),
        ('name: "A\\nB"', "name: holds a control character"),
        ("folder: /etc", "folder: unknown key"),
        ("name: [", "bracket is never closed"),
        ("- a", "is a list"),
    ],
)
def test_one_problem(tmp_path: Path, text: str, expected: str) -> None:
    found = problems(tmp_path, text)
    assert any(expected in line for line in found), found
    with pytest.raises(SettingsError):
        load_site(tmp_path)


def test_warnings_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    problems(tmp_path, "environments: {a: {name: A, jupyterlab: no}}\n")
    assert load_site(tmp_path).environments["a"].jupyterlab is False
    assert "no is read as false" in caplog.text


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(sorted(Site.model_fields)),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates(),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["name", "tls", "mem_limit", "a", "image"]), inner
                )
            ),
            max_leaves=8,
        ),
    )
)
def test_garbage_gives_problems(tmp_path_factory: pytest.TempPathFactory, data: object) -> None:
    import yaml

    folder = tmp_path_factory.getbasetemp() / "garbage"
    folder.mkdir(exist_ok=True)
    (folder / "courseyard.yaml").write_text(yaml.safe_dump(data))
    site, found = check_site(folder)
    assert (site is None) == any(problem.is_error for problem in found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("people: {source: nss}", "people.source: nss finds nobody"),
        ("hub: {authenticator: pam}", "hub.authenticator: pam lets nobody in"),
        ("hub: {base_url: /jupyter/}", "hub.base_url: must be / in a cluster"),
        (
            "kubernetes: {namespace: a, users_namespace: a}",
            "kubernetes.users_namespace: must be another one",
        ),
        ("kubernetes: {namespace: A}", "kubernetes.namespace"),
    ],
)
def test_what_a_hub_in_a_cluster_cannot_do(tmp_path: Path, text: str, expected: str) -> None:
    found = problems(tmp_path, f"backend: kubernetes\n{text}\n")
    assert [each for each in found if expected in each], found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("branding: {accent: teal}", "branding.accent: 'teal' is not a colour; write # and six"),
        ("servers: {marker: my hub}", "servers.marker: 'my hub' is not the name of a variable"),
        ("kubernetes: {namespace: A_B}", "kubernetes.namespace: 'A_B' is not a name of Kubernetes"),
        ("people: {users_group: {name: A B, gid: 20000}}", "'A B' is not the name of a group"),
    ],
)
def test_a_form_is_told_in_words(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "courseyard.yaml").write_text(f"{text}\n")
    site, problems = check_site(tmp_path)
    assert site is None
    assert said in " ".join(map(str, problems))


def test_every_form_has_words() -> None:
    def patterns(schema: object) -> set[str]:
        if isinstance(schema, dict):
            own = {schema["pattern"]} if isinstance(schema.get("pattern"), str) else set()
            return own.union(*map(patterns, schema.values()))
        return set().union(*map(patterns, schema)) if isinstance(schema, list) else set()

    assert patterns(Site.model_json_schema()) <= set(FORMS)
