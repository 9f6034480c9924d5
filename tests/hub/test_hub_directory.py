"""The university's directory is away for longer than anybody is remembered: nobody is taken for unknown."""

from __future__ import annotations

from collections.abc import Callable

from sites import Hub

#: People by NSS, from a directory that says "nobody" for everybody while the file `away` is there.
DIRECTORY = """
import pwd
from courseyard.people import cache, nss

people = runtime.people._source._people
cache.STALE_SECONDS = 0

def getpwnam(name):
    if (here / "away").exists() or name not in people:
        raise KeyError(name)
    person = people[name]
    return pwd.struct_passwd((name, "x", person.uid, person.gid, person.full_name, "/", "/bin/sh"))

pwd.getpwnam = getpwnam
nss._has_directory = lambda: True
nss._away = lambda function, key: ""
settings = runtime.site.people.model_copy(update={"cache": 0, "cache_unknown": 0})
runtime.people = cache.People(nss.NssSource(*known(runtime)), settings)
"""
KNOWN = "def known(runtime):\n    return [runtime.keys.people()] if hasattr(runtime.keys, 'people') else []\n"
LOGIN = "We cannot look up who you are at the moment"


def test_nobody_is_logged_out_while_the_directory_is_away(own_hub: Callable[..., Hub]) -> None:
    hub = own_hub(more=KNOWN + DIRECTORY)
    aino, otso = hub.visitor("aino"), hub.visitor("otso")
    aino.act("/hub/go/scip")
    aino.wait_running("scip")
    away = hub.folder / "away"
    away.touch()
    for restart in (False, True):
        if restart:
            hub.stop_hub()
            hub.start_hub()
        page = aino.get("/hub/home")
        assert page.status_code == 503, page.url
        assert "does not answer" in page.text
        assert otso.get("/hub/go/scip").status_code == 503
        assert "It runs" in aino.get("/user/aino/scip/lab").text
        log_in = hub.visitor().log_in("helmi")
        assert log_in.status_code == 503
        assert LOGIN in log_in.text
    away.unlink()
    assert "Aino Virtanen" in aino.get("/hub/home").text
    assert "Otso Laine" in otso.get("/hub/home").text
    assert hub.visitor().log_in("helmi").status_code == 200
    aino.act("/hub/stop/scip")
