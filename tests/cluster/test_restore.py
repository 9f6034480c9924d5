"""A site that its cluster has lost comes back from what the documentation says to keep.

The commands are those of docs/howto/cluster.md, "Back up and restore", with this site's names.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
import yaml

from tests.cluster import postgres
from tests.cluster.deployed import Deployed
from tests.cluster.rig import REPOSITORY, Kube
from tests.cluster.test_faults import Person, _quietly, pod_of
from tests.conftest import require

STUDENT, SERVER = "omar", "stats"
GUIDE = REPOSITORY / "docs" / "howto" / "cluster.md"
_OVERLAYS = REPOSITORY / "deploy" / "kubernetes" / "overlays"


def block(word: str) -> str:
    """The commands of the guide's section that hold ``word``."""
    section = re.search(r"(?s)\n## Back up and restore\n(.*?)\n## ", GUIDE.read_text())
    assert section
    (found,) = [each for each in re.findall(r"(?s)```\n(.*?)```", section[1]) if word in each]
    return str(found)


@dataclass
class Kept:
    """A site, and where its hub's database is."""

    site: Deployed
    stack: ExitStack
    database: postgres.Postgres | None = None

    def make(self) -> None:
        self.site.make()
        self.site.change("kubernetes/base/hub/proxy.yaml", "replicas: 2", "replicas: 1")
        if self.database is not None:
            self._use(self.database)

    def _use(self, database: postgres.Postgres) -> None:
        """As the guide says for the overlay `site`, whose patches these are."""
        site = self.site
        line = f"  database: postgresql+psycopg://courseyard@{database.address}/courseyard\n"
        site.change("courseyard.yaml", "  # database: postgres", f"{line}  # database: postgres")
        (site.folder / "secrets" / "database-password").write_text(database.password)
        files = "routes-token=secrets/routes-token"
        more = f"{files}, database-password=secrets/database-password"
        site.change("kustomization.yaml", files, more)
        patches = yaml.safe_load((_OVERLAYS / "site" / "kustomization.yaml").read_text())["patches"]
        overlay = site.folder / "kubernetes" / "overlays" / "one-node" / "kustomization.yaml"
        told = yaml.safe_load(overlay.read_text())
        told["patches"] += patches
        overlay.write_text(yaml.safe_dump(told))

    def lost(self) -> None:
        """All of the site goes but its folder and its files."""
        self.site.lose()
        if self.database is not None:
            address, password = self.database.address, self.database.password
            self.stack.close()
            self.database = self.stack.enter_context(postgres.running(address, password))

    def run(self, commands: str) -> None:
        """Commands of the guide beside the site's folder."""
        site = self.site
        commands = re.sub(r"\bdocs\b", site.namespace, commands)
        commands = commands.replace("postgres.example.org", site.kube.node_address())
        kubectl = " ".join(site.kube.words())
        environment = dict(os.environ)
        if self.database is not None:
            environment |= {
                "PGPASSWORD": self.database.password,
                "PATH": f"{self.database.programs}:{environment['PATH']}",
            }
            # What stands for the administrator's machine reaches the database as the hub does.
            inside = " ".join(postgres.INSIDE)
            commands = re.sub(r"(?m)^(pg_dump|psql) ", rf"{inside} \1 ", commands)
        done = subprocess.run(
            ["bash", "-euc", f'kubectl() {{ {kubectl} "$@"; }}\n{commands}'],
            cwd=site.folder.parent,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}{done.stderr}"


@pytest.fixture(params=["sqlite", "postgresql"])
def kept(kube: Kube, request: pytest.FixtureRequest) -> Iterator[Kept]:
    with ExitStack() as stack:
        made = Kept(Deployed(kube, "lost", 30083), stack)
        if request.param == "postgresql":
            require("postgresql")
            if kube.local is None:
                pytest.skip("the database runs in the network of ../shared/cluster")
            made.database = stack.enter_context(postgres.running(kube.node_address()))
        try:
            made.site.down()
            made.make()
            made.site.apply()
            made.site.ready()
            made.site.agent("storage", "apply", "/srv/courseyard")
            yield made
        finally:
            made.site.down()


def test_a_lost_site_comes_back(kept: Kept) -> None:
    site = kept.site
    person = Person(site, STUDENT)
    said = person.start(SERVER)
    assert person.works(SERVER), said
    inside(site, "echo kept > /notebooks/note")
    _as_told(kept, "sqlite3" if kept.database is None else "pg_dump")

    kept.lost()
    if kept.database is not None:
        assert not kept.database.asked("SELECT 1 FROM pg_tables WHERE tablename = 'users'")
        kept.run(block("psql"))
    kept.run(block("apply -k"))
    if kept.database is None:
        kept.run(block("mv new jupyterhub.sqlite"))
    kept.run(block("rollout restart"))
    site.ready()

    # The nodes learn of a service a little after its pods are ready.
    page = site.wait(lambda: _quietly(person.get, "/hub/home"), 30, "the page answers")
    assert page.status_code == 200
    assert f"/hub/stop/{SERVER}" not in page.text  # its pod is gone, and it is noted
    assert "Statistics for Everyone" in person.home()
    said = person.start(SERVER)
    assert person.works(SERVER), said
    assert inside(site, "cat /notebooks/note") == "kept\n"


def _as_told(kept: Kept, database: str) -> None:
    kept.run(block("> cookie-secret"))
    kept.run(block(database))
    if kept.database is not None:
        assert kept.database.asked("SELECT count(*) FROM users WHERE name = 'omar'") == "1"


def inside(site: Deployed, command: str) -> str:
    name = pod_of(site, STUDENT)["metadata"]["name"]
    return site.kube.kubectl("exec", "-n", site.users, name, "--", "sh", "-c", command)
