"""Hosts of people's own: names, routes, cookies, certificates."""

from __future__ import annotations

import itertools
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from courseyard.cli import certificates
from courseyard.hub import domains
from courseyard.hub.home import looks
from courseyard.hub.ownhost import own_cookies
from courseyard.hub.places import Places
from courseyard.hub.proxy import dynamic_configuration
from courseyard.settings import Site
from courseyard.sitefile import check_site

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def site(url: str = "https://hub.example.org/", folder: Path = Path(), **more: Any) -> Site:
    hub = {"subdomains": True, "public_url": url, **more.pop("hub", {})}
    return Site.model_validate({"hub": hub, "folder": folder, **more})


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["maija", "anna-liisa", "m20003", "a", "x" * 63])
def test_a_name_that_is_a_label_stays(name: str) -> None:
    assert domains.label(name) == name


@pytest.mark.parametrize(
    "name",
    ["a_b", "a.b", "_a", "a-", "A", "Maija", "20003", "xn--mijam", "a--b", "äiti", "x" * 64, "a b",
     "u-ab--abcdefghijklmnopqrstuvwxyz234567", "-", "_", "maija.", "ﬁ", "ß", "İ", "maija\n"],
)  # fmt: skip
def test_other_names_are_replaced(name: str) -> None:
    label = domains.label(name)
    assert LABEL.fullmatch(label)
    assert label != name
    assert label[2:4] != "--"  # RFC 5891 keeps these for other alphabets
    assert domains.label(label) != label, "nobody's name is another's label"


def test_no_two_people_share_a_host() -> None:
    """All names of a small alphabet, with the letters that make trouble; DNS knows no capitals."""
    names = {"".join(n) for size in range(1, 6) for n in itertools.product("aA_.-1", repeat=size)}
    labels = {domains.label(name).lower() for name in names}
    assert len(labels) == len(names)
    again = {domains.label(label) for label in labels}
    assert len(again | labels) == len(again) + len(labels) - len(again & labels)
    assert all(LABEL.fullmatch(label) for label in labels)


def test_jupyterhubs_own_names_would_be_shared() -> None:
    """Why they are not used: 28 bits of a hash; these two were found by trying a few thousand."""
    from jupyterhub.utils import subdomain_hook_idna

    seen: dict[str, str] = {}
    for number in range(200_000):
        name = f"abcdefgh_{number}"
        other = seen.setdefault(subdomain_hook_idna(name, "hub", "user"), name)
        if other != name:
            break
    else:
        pytest.fail("no two names share a host")
    assert domains.hook(name, "hub", "user") != domains.hook(other, "hub", "user")


def test_a_service_has_no_persons_host() -> None:
    assert domains.hook("culler", "hub.example.org", "service") == "culler--service.hub.example.org"
    assert domains.label("culler--service") != "culler--service"


# --- routes ---------------------------------------------------------------------------------------


def test_the_hubs_rules_name_its_host() -> None:
    plain = dynamic_configuration(Site())["http"]["routers"]
    assert plain["courseyard-login"]["rule"] == "Method(`POST`) && Path(`/hub/login`)"
    assert set(plain) == {"courseyard-login"}
    there = site("https://Hub.example.org:8443/x/", hub={"base_url": "/x/"})
    http = dynamic_configuration(there)["http"]
    assert http["routers"]["courseyard-login"]["rule"].startswith("Host(`hub.example.org`) && ")
    lead = http["middlewares"]["courseyard-to-hub"]["redirectRegex"]
    assert lead["replacement"] == "https://hub.example.org:8443/x/hub/${1}"
    pattern = re.compile(lead["regex"])
    assert pattern.sub(r"\1", "https://maija.hub.example.org:8443/x/user/maija/a/lab?b=c") == (
        "user/maija/a/lab?b=c"
    )
    assert pattern.fullmatch("http://192.0.2.1/x/")
    assert not pattern.fullmatch("http://192.0.2.1/x/hub/login")


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Hub.Example.org/x/", "https://hub.example.org"),
        ("https://hub.example.org:443/", "https://hub.example.org"),
        ("https://hub.example.org:4430/", "https://hub.example.org:4430"),
        ("http://a.localhost:80/", "http://a.localhost"),
        ("http://a.localhost:443/", "http://a.localhost:443"),
    ],
)
def test_an_origin_is_written_as_browsers_do(url: str, origin: str) -> None:
    assert domains.origin(site(url)) == origin


def test_pages_name_the_hub_and_lead_to_servers() -> None:
    policy = looks.headers(Places(site("https://hub.example.org:8443/")))["Content-Security-Policy"]
    assert "form-action 'self' https://*.hub.example.org:8443;" in policy
    assert "frame-ancestors 'none'" in policy
    policy = looks.headers(Places(Site()))["Content-Security-Policy"]
    assert "form-action 'self';" in policy


# --- cookies --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("", ""),
        ("_xsrf=evil; jupyterhub-session-id=evil; jupyterhub-hub-login=evil", ""),
        ("_xsrf=evil; __Host-_xsrf=good", "__Host-_xsrf=good; _xsrf=good"),
        ("__Host-_xsrf=good;_xsrf=evil", "__Host-_xsrf=good; _xsrf=good"),
        ("__host-_xsrf=evil; __Secure-_xsrf=evil", ""),
        # Spaces that Python strips and browsers do not (a cookie of such a name has no prefix there).
        ("\u00a0__Host-_xsrf=evil; \u2000__Host-_xsrf=evil; \x85__Host-_xsrf=evil", ""),
        ("x=1 __Host-_xsrf=evil; =__Host-_xsrf=evil; __Host-=evil", ""),
        ('x="; __Host-a=b; "', "__Host-a=b; a=b"),
    ],
)
def test_cookies_of_others_are_not_read(given: str, kept: str) -> None:
    assert own_cookies(given) == kept


# --- settings and certificates --------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["https://hub.example.org/", "http://courseyard.localhost:8000/", "https://a.b/"]
)
def test_names_that_can_have_hosts(tmp_path: Path, url: str) -> None:
    text = {"hub": {"subdomains": True, "public_url": url}}
    (tmp_path / "courseyard.yaml").write_text(yaml.safe_dump(text))
    found, problems = check_site(tmp_path)
    assert found is not None, problems


def certificate(folder: Path, names: Iterable[str]) -> Path:
    file = folder / "chain.pem"
    more = [f"subjectAltName={','.join(f'DNS:{name}' for name in names)}"] if names else []
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=hub.example.org",
         *(part for ext in more for part in ("-addext", ext)),
         "-keyout", folder / "key.pem", "-out", file],
        check=True, capture_output=True,
    )  # fmt: skip
    return file


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["hub.example.org", "*.hub.example.org"], ""),
        (["*.example.org", "*.HUB.example.org"], ""),
        (["hub.example.org"], "not for *.hub.example.org;"),
        (["*.hub.example.org"], "not for hub.example.org;"),
        (["*.example.org"], "is for *.example.org, not for *.hub.example.org;"),
        (["a.b", "*.org"], "is for *.org (and 1 more), not for hub.example.org and *.hub"),
        ([], "is for no name, not for"),
    ],
)
def test_the_certificate_must_cover_all_hosts(tmp_path: Path, names: list[str], said: str) -> None:
    file = certificate(tmp_path, names)
    tls = {"tls": {"certificate": file, "key": file}}
    (problem,) = [*certificates.problems(site(folder=tmp_path, proxy=tls)), None][:1]
    assert (problem is None) == (not said)
    assert problem is None or (said in problem.message and problem.is_error)
    assert not list(certificates.problems(Site.model_validate({"proxy": tls})))


def test_a_certificate_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("root:$6$secret:\n")
    for name, said in (("secret", "holds no certificate"), ("missing", "is not there")):
        tls = {"tls": {"certificate": tmp_path / name, "key": tmp_path / "secret"}}
        (problem,) = certificates.problems(site(folder=tmp_path, proxy=tls))
        assert said in problem.message
        assert "$6$" not in problem.message
