"""The prepuller of the example university, compared with the one in the repository."""

from __future__ import annotations

import kubernetes_validate
import yaml

from courseyard.backends.kubernetes import prepull
from courseyard.cli.prepull import wanted
from courseyard.cli.sites import open_site
from tests.golden.test_golden_plans import EXAMPLE, HERE, NOW, UPDATE
from tests.golden.test_golden_pods import NEWEST, OLDEST

FILE = HERE / "prepuller.yaml"


def test_prepuller() -> None:
    known = open_site(EXAMPLE)
    made = prepull.daemon_set(known.site.kubernetes, wanted(known, NOW))
    for version in (OLDEST, NEWEST):
        kubernetes_validate.validate(made, version, strict=True)
    text = yaml.safe_dump(made, sort_keys=True, width=100)
    if UPDATE:
        FILE.write_text(text, encoding="utf-8")
    assert text == FILE.read_text(encoding="utf-8")


def test_an_image_that_two_families_list_is_fetched_once() -> None:
    known = open_site(EXAMPLE)
    (newest, *_) = wanted(known, NOW)
    made = prepull.daemon_set(known.site.kubernetes, [newest, newest])
    assert len(made["spec"]["template"]["spec"]["containers"]) == 1
    assert prepull.images_of(made) == {newest.reference}
