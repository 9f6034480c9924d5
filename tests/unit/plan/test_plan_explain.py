"""A plan as text: every mount, group and limit with its reason."""

from __future__ import annotations

from typing import Any

from courseyard.plan.explain import explain, sections
from courseyard.registry.course import Override

World = Any


def test_every_mount_group_and_limit_has_a_reason(world: World) -> None:
    world.course(
        "all",
        instructors={"ines"},
        datadir=True,
        extra_instructor_groups=(("cluster", 40001),),
        kubespawner_override=Override(extra_resource_limits={"nvidia.com/gpu": "1"}),
    )
    for who, target in (("ines", "all-instructor"), ("stu", "all"), ("nobody", "general")):
        tables = dict(sections(world.plan(who, target)))
        for heading in ("identity", "mounts", "limits"):
            assert tables[heading]
            for name, _, reason in tables[heading]:
                assert reason, f"{target}: {heading}: {name}"


def test_lines(world: World) -> None:
    lines = explain(world.plan("ines", "algo-instructor"))
    text = "\n".join(lines)
    assert lines[0] == "server"
    assert "/course " in text
    assert "rw  course/algo/files" in text
    assert "# the course directory, for its instructors" in text
    assert "umask" in text
    assert "0007" in text
    assert "5 GB" in text
    assert "formgrader" in text
    assert not any(line.endswith(" ") for line in lines)


def test_a_server_without_nbgrader_says_why(world: World) -> None:
    text = "\n".join(explain(world.plan("nobody", "general")))
    assert "switched off: there is no course directory" in text


def test_what_only_a_cluster_reads(world: World) -> None:
    world.course("gpu", kubespawner_override=Override(node_selector={"hardware": "gpu"}))
    assert "{'hardware': 'gpu'}" in "\n".join(explain(world.plan("stu", "gpu")))
    assert "cluster" not in explain(world.plan("stu", "algo"))
