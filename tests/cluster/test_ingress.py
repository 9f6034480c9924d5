"""An ingress in front of the site: a Traefik pod that ends TLS, and people in pods of their own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from courseyard.cli.check import problems_of
from courseyard.cli.clusterfiles import TRUST
from tests.cluster.deployed import Deployed
from tests.cluster.rig import HUB, PROXY, Kube, KubectlError

SPACE = "ingress-test"
SITE = "fronted"
RATE = 2
PATCH = f"""\
patches:
  - target: {{kind: Deployment, name: proxy}}
    patch: |
      - op: add
        path: /spec/template/spec/containers/0/args/-
        value: {TRUST}"""
#: Log-ins as ada with a wrong password, each with another claim; statuses, and cookies by name.
GUESS = """
import http.cookiejar, json, re, ssl, sys, urllib.error, urllib.parse, urllib.request
base, claims = sys.argv[1], sys.argv[2:]
jar = http.cookiejar.CookieJar()
web = urllib.request.build_opener(
    urllib.request.HTTPSHandler(context=ssl._create_unverified_context()),
    urllib.request.HTTPCookieProcessor(jar),
)
statuses = []
web.open(base + "/hub/health", timeout=30).close()
for claim in claims:
    page = web.open(base + "/hub/login", timeout=30).read().decode()
    token = next(cookie.value for cookie in jar if cookie.name == "_xsrf")
    form = urllib.parse.urlencode({"_xsrf": token, "username": "ada", "password": "guess"})
    request = urllib.request.Request(base + "/hub/login", form.encode(), {"X-Forwarded-For": claim})
    try:
        statuses.append(web.open(request, timeout=30).status)
    except urllib.error.HTTPError as error:
        statuses.append(error.code)
print(json.dumps({"statuses": statuses, "cookies": {c.name: c.secure for c in jar}}))
"""


class Ingress:
    """The ingress, two people beside it, and the site behind it."""

    def __init__(self, kube: Kube, site: Deployed, folder: Path) -> None:
        self.kube = kube
        self.site = site
        self.folder = folder

    def up(self) -> None:
        self.kube.apply(
            [
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}},
                {"apiVersion": "v1", "kind": "Secret", "metadata": _about("ingress"),
                 "stringData": self._files()},
                _pod("ingress", PROXY, args=[
                    "--entrypoints.web.address=:8443",
                    "--entrypoints.web.http.tls=true",
                    # It keeps what its clients claim: the worst that an ingress may do.
                    "--entrypoints.web.forwardedheaders.insecure=true",
                    "--accesslog=true",
                    "--providers.file.filename=/etc/ingress/site.yaml",
                ]),
                *(_pod(name, HUB, command=["sleep", "3600"]) for name in ("ada", "maija")),
            ]
        )  # fmt: skip
        for name in ("ingress", "ada", "maija"):
            self.kube.wait("pod", name, "condition=Ready", SPACE, 120)

    def _files(self) -> dict[str, str]:
        key, chain = self.folder / "key.pem", self.folder / "chain.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
             "/CN=jupyter.example.org", "-keyout", key, "-out", chain],
            check=True, capture_output=True,
        )  # fmt: skip
        pair = {"certFile": "/etc/ingress/chain.pem", "keyFile": "/etc/ingress/key.pem"}
        service = {"loadBalancer": {"servers": [{"url": f"http://proxy.{SITE}"}]}}
        routes = {
            "http": {
                "routers": {"all": {"rule": "PathPrefix(`/`)", "service": "site"}},
                "services": {"site": service},
            },
            "tls": {"stores": {"default": {"defaultCertificate": pair}}},
        }
        return {
            "site.yaml": json.dumps(routes),
            "chain.pem": chain.read_text(),
            "key.pem": key.read_text(),
        }

    @property
    def address(self) -> str:
        return self.address_of("ingress")

    def address_of(self, pod: str) -> str:
        found = self.kube.get("pod", pod, SPACE) or {}
        return str(found["status"]["podIP"])

    def guesses(self, who: str, *claims: str) -> dict[str, Any]:
        """What ``who`` gets who tries one password with each claim."""
        words = ("exec", "-n", SPACE, who, "--", "python", "-c", GUESS)
        said = self.kube.kubectl(*words, f"https://{self.address}:8443", *claims)
        return dict(json.loads(said))

    def ready(self) -> None:
        """Once the site answers through the ingress, too: services follow pods a little later.

        A proxy that ends goes on answering what reaches it, by its old settings.
        """
        self.site.ready()
        self.site.wait(self._one_proxy, 60, "the last proxy does not end")
        self.site.wait(self._answers, 60, "the site does not answer through the ingress")

    def _one_proxy(self) -> bool:
        pods = self.site.pods(self.site.namespace)
        return sum(pod["metadata"]["name"].startswith("proxy-") for pod in pods) == 1

    def _answers(self) -> bool:
        try:
            self.guesses("maija")
        except KubectlError:
            return False
        return True

    def down(self) -> None:
        self.kube.kubectl("delete", "ns", SPACE, "--ignore-not-found", "--timeout=90s")


def _about(name: str) -> dict[str, str]:
    return {"name": name, "namespace": SPACE}


def _pod(name: str, image: str, **container: Any) -> dict[str, Any]:
    mount = {"name": "files", "mountPath": "/etc/ingress"}
    given = {"name": name, "image": image, "imagePullPolicy": "IfNotPresent", **container}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _about(name),
        "spec": {
            "containers": [given | {"volumeMounts": [mount]}],
            "volumes": [{"name": "files", "secret": {"secretName": "ingress"}}],
            "terminationGracePeriodSeconds": 1,
        },
    }


@pytest.fixture(scope="module")
def ingress(kube: Kube, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ingress]:
    site = Deployed(kube, SITE, 30083)
    front = Ingress(kube, site, tmp_path_factory.mktemp("ingress"))
    try:
        front.down()
        front.up()
        site.down()
        site.make()
        # One proxy: each counts for itself.
        site.change("kubernetes/base/hub/proxy.yaml", "replicas: 2", "replicas: 1")
        trust = f"proxy: {{login_rate: {RATE}, trusted_proxies: [{front.address}]}}\npeople:\n"
        site.change("courseyard.yaml", "people:\n", trust)
        public = "hub:\n  public_url: https://jupyter.example.org/\n"
        site.change("courseyard.yaml", "hub:\n", public)
        site.change("kustomization.yaml", "images:\n", f"{PATCH}{front.address}/32\nimages:\n")
        site.apply()
        front.ready()
        yield front
    finally:
        front.down()
        site.down()


def test_people_behind_an_ingress_are_counted_apart(ingress: Ingress) -> None:
    assert not [p for p in problems_of(ingress.site.folder) if p.file.name == "kustomization.yaml"]
    tried = ingress.guesses("ada", *["203.0.113.1"] * (RATE + 1))
    assert tried["statuses"] == [403] * RATE + [429]
    assert tried["cookies"]
    assert all(tried["cookies"].values())
    # Neither another claim nor the name of a neighbour or of the ingress helps.
    maija = ingress.address_of("maija")
    claims = ("203.0.113.2", maija, ingress.address, f"{maija}, {ingress.address}")
    assert ingress.guesses("ada", *claims)["statuses"] == [429] * len(claims)
    assert ingress.guesses("maija", *["203.0.113.1"] * RATE)["statuses"] == [403] * RATE
    log = ingress.site.logs()
    assert f"(@{ingress.address_of('ada')})" in log
    assert "@203.0.113" not in log


def test_half_a_trust_is_none(ingress: Ingress) -> None:
    """Without the argument of the proxies all share one limit, and `check` says why."""
    ingress.site.change("kustomization.yaml", f"{PATCH}{ingress.address}/32\n", "")
    said = [p.message for p in problems_of(ingress.site.folder) if "argument must be" in p.message]
    assert [f"{TRUST}{ingress.address}/32" in message for message in said] == [True]
    ingress.site.apply()
    ingress.ready()
    assert ingress.guesses("ada", *["203.0.113.1"] * RATE)["statuses"] == [403] * RATE
    assert ingress.guesses("maija", "203.0.113.2")["statuses"] == [429]
