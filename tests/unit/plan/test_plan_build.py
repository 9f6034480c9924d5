"""Every line of "Inside a running server", for every role."""

from __future__ import annotations

import copy
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from courseyard.backends import beside
from courseyard.errors import DeniedError, PlanError
from courseyard.images.model import ImageWish
from courseyard.plan.build import HOME_LINKS, label_value
from courseyard.plan.model import HomeLink, ServerPlan, StorageKind
from courseyard.plan.nbgrader import AUTOGRADE, COLLECT, EXCHANGE_PARTS, RELEASE
from courseyard.registry.course import Override
from courseyard.settings import GRADING_UIDS

PAST = datetime(2026, 11, 1, tzinfo=UTC)
World = Any
EVERYONES = {
    "/notebooks": ("u/07/{}", True),
    "/m/uni/u/07/{}": ("u/07/{}", True),
    "/m/uni/shareddata": ("shareddata", True),
    "/m/uni/software": ("software", False),
}


def mounts(plan: ServerPlan) -> dict[str, tuple[str, bool]]:
    return {m.target: (m.source, m.writable) for m in plan.mounts}


def everyones(name: str) -> dict[str, tuple[str, bool]]:
    return {t.format(name): (s.format(name), w) for t, (s, w) in EVERYONES.items()}


def test_a_general_server_of_someone_without_courses(world: World) -> None:
    plan = world.plan("nobody", "general")
    assert mounts(plan) == everyones("nobody")
    assert plan.nbgrader is None
    assert (plan.course, plan.title, plan.server_name) == ("", "Python", "general-python-env")
    assert (plan.identity.gid, plan.identity.supplementary) == (20000, ())
    assert "NB_COURSE" not in plan.environment
    assert "COURSEDATA" not in plan.environment


def test_a_student_server(world: World) -> None:
    plan = world.plan("stu", "algo")
    assert mounts(plan) == everyones("stu") | {"/srv/nbgrader/exchange": ("exchange/algo", True)}
    assert plan.identity.uid == 21007
    assert (plan.identity.gid, plan.identity.group) == (20000, "users")
    assert plan.identity.umask == 0o022
    assert plan.environment["NB_COURSE"] == "algo"
    assert plan.environment["PYTHONPATH"] == "/m/uni/software/pymod"


def test_an_instructor_server(world: World) -> None:
    plan = world.plan("ines", "algo-instructor")
    assert mounts(plan) == everyones("ines") | {
        "/course": ("course/algo/files", True),
        "/srv/nbgrader/exchange": ("exchange/algo", True),
        "/srv/nbgrader/people": ("course/algo/people", False),
        "/m/uni/course/algo/files": ("course/algo/files", True),
    }
    assert (plan.identity.gid, plan.identity.group) == (30001, "jupyter-algo")
    assert plan.identity.umask == 0o007
    assert plan.environment["PYTHONPATH"] == "/course/pymod:/m/uni/software/pymod"


def test_coursedata(world: World) -> None:
    world.course("data", datadir=True, instructors={"ines"})
    world.course("shared", datadir=True, datadir_readwrite=True, instructors={"ines"})
    world.course("none", instructors={"ines"}, create_userdata=True)
    for slug, student_may in (("data", False), ("shared", True)):
        source = f"course/{slug}/data"
        student, teacher = world.plan("stu", slug), world.plan("ines", f"{slug}-instructor")
        assert mounts(student)["/coursedata"] == (source, student_may)
        assert mounts(teacher)["/coursedata"] == (source, True)
        assert student.environment["COURSEDATA"] == "/coursedata/"
    plan = world.plan("stu", "none")
    assert "/coursedata" not in mounts(plan)
    assert "COURSEDATA" not in plan.environment


def test_userdata_is_the_students_own_folder(world: World) -> None:
    world.course("data", datadir=True, create_userdata=True, instructors={"ines"})
    plan = world.plan("stu", "data")
    assert mounts(plan)["/coursedata/users/stu"] == ("course/data/data/users/stu", True)
    need = next(n for n in plan.storage if n.kind is StorageKind.COURSE_USERDATA)
    assert (need.slug, need.username, need.uid, need.gid) == ("data", "stu", 21007, 30002)
    teacher = world.plan("ines", "data-instructor")
    assert not any(t.startswith("/coursedata/users") for t in mounts(teacher))


def test_parents_come_before_children(world: World) -> None:
    world.course("data", datadir=True, create_userdata=True)
    targets = [m.target for m in world.plan("stu", "data").mounts]
    for index, target in enumerate(targets):
        assert not any(target.startswith(f"{later}/") for later in targets[index:])


def test_courses_taught_are_in_general_and_instructor_servers_never_in_student_ones(
    world: World,
) -> None:
    world.course("old", instructors={"ines"}, archive=True, datadir=True)
    world.course("byday", instructors={"ines"}, archive_date=PAST)
    world.course("draft", instructors={"ines"}, private=True)
    world.course("others", instructors={"otto"})
    taught = {
        "/m/uni/course/algo/files": ("course/algo/files", True),
        "/m/uni/course/old/files": ("course/old/files", False),
        "/m/uni/course/old/data": ("course/old/data", False),
        "/m/uni/course/byday/files": ("course/byday/files", False),
        "/m/uni/course/draft/files": ("course/draft/files", True),
    }
    for target in ("general", "algo-instructor", "draft-instructor"):
        seen = mounts(world.plan("ines", target))
        found = {t: m for t, m in seen.items() if t.startswith("/m/uni/course/")}
        assert found == taught, target
    student = world.plan("ines", "algo")
    assert not any("course/" in source for source, _ in mounts(student).values())
    assert student.identity.supplementary == ()


def test_groups_of_courses_taught(world: World) -> None:
    world.course("old", instructors={"ines"}, archive=True)
    world.course("env", instructors={"ines"}, gid=None)
    general = world.plan("ines", "general").identity
    assert [(g.name, g.gid) for g in general.supplementary] == [
        ("jupyter-algo", 30001),
        ("jupyter-old", 30002),
    ]
    teaching = world.plan("ines", "algo-instructor").identity
    assert [g.name for g in teaching.supplementary] == ["jupyter-old"]
    assert all(g.reason for g in general.supplementary)


def test_instructor_by_the_institutions_group(world: World) -> None:
    plan = world.plan(world.person("grete", "jupyter-algo", "wheel"), "algo-instructor")
    assert plan.identity.gid == 30001
    # Groups of the institution that no course has stay outside.
    assert plan.identity.supplementary == ()


def test_extra_groups(world: World) -> None:
    world.course(
        "x",
        instructors={"ines"},
        extra_instructor_groups=(("cluster", 40001),),
        extra_student_groups=(("project", 40002),),
    )
    names = [g.name for g in world.plan("ines", "x-instructor").identity.supplementary]
    assert names == ["jupyter-algo", "cluster"]
    assert [g.gid for g in world.plan("stu", "x").identity.supplementary] == [40002]
    assert world.plan("ines", "general").identity.supplementary[-1].name == "jupyter-x"


@pytest.mark.parametrize("gid", [0, 4, 27, 999])
def test_groups_of_the_system_are_refused(world: World, gid: int) -> None:
    world.course("bad", extra_student_groups=(("disk", gid),))
    with pytest.raises(PlanError, match="group of the system"):
        world.plan("stu", "bad")


def test_student_umask(world: World) -> None:
    world.course("tight", student_umask=0o027, instructors={"ines"})
    assert world.plan("stu", "tight").identity.umask == 0o027
    assert world.plan("ines", "tight-instructor").identity.umask == 0o007


def test_a_course_without_directories_is_an_environment(world: World) -> None:
    world.course("env", gid=None, datadir=True, jupyterlab=False)
    plan = world.plan("stu", "env")
    assert mounts(plan) == everyones("stu")
    assert plan.nbgrader is None
    assert plan.default_url == "/tree"
    assert plan.environment["NB_COURSE"] == "env"


def test_a_variant_uses_the_directories_of_its_course(world: World) -> None:
    world.course("gpu", coursedir_slug="algo", gid=30001, instructors={"otto"}, datadir=True)
    plan = world.plan("otto", "gpu-instructor")
    seen = mounts(plan)
    assert seen["/course"] == ("course/algo/files", True)
    assert seen["/coursedata"] == ("course/algo/data", True)
    assert seen["/srv/nbgrader/exchange"] == ("exchange/algo", True)
    assert seen["/srv/nbgrader/people"] == ("course/algo/people", False)
    assert plan.environment["NB_COURSE"] == "gpu"
    assert plan.nbgrader is not None
    assert plan.nbgrader.config["CourseDirectory"]["course_id"] == "algo"
    assert plan.identity.group == "jupyter-algo"
    assert {n.slug for n in plan.storage if n.slug} == {"algo"}


def test_a_variant_of_a_missing_course_costs_itself_alone(world: World) -> None:
    world.course("lost", coursedir_slug="gone", instructors={"ines"})
    with pytest.raises(PlanError, match="cannot be found"):
        world.plan("ines", "lost-instructor")
    assert "/m/uni/course/algo/files" in mounts(world.plan("ines", "general"))


def test_a_variant_of_an_archived_course_is_read_only(world: World) -> None:
    world.course("old", instructors={"ines"}, archive=True, datadir=True)
    world.course("re", coursedir_slug="old", instructors={"ines"}, datadir=True)
    seen = mounts(world.plan("ines", "re-instructor"))
    course = {t: w for t, (s, w) in seen.items() if "/old" in s}
    assert len(course) == 6
    assert not any(course.values())


def test_environment_variables(world: World) -> None:
    world.course("env", kubespawner_override=Override(cpu_limit=2.5, cull_inactive_time=60))
    env = world.plan("stu", "env").environment
    for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "JULIA"):
        assert env[f"{name}_NUM_THREADS"] == "2"
    assert env["NB_USER"] == "stu"
    assert env["TZ"] == "Europe/Helsinki"
    assert env["TEST_HUB"] == "1"
    assert env["EDITOR"] == "nano"
    assert env["HOME"] == "/home/stu"
    assert (env["CULL_INACTIVE_TIME"], env["CULL_MAX_AGE"]) == ("60", "28800")


def test_half_a_core_is_one_thread(world: World) -> None:
    world.course("small", kubespawner_override=Override(cpu_limit=0.5))
    assert world.plan("stu", "small").environment["OMP_NUM_THREADS"] == "1"


def test_files_may_add_variables_and_never_ours(world: World) -> None:
    sneaky = {
        "EDITOR": "vim",
        "PYTHONPATH": ":/coursedata/lib:lib",
        "NB_USER": "someone",
        "HOME": "/elsewhere",
        "TEST_HUB": "0",
        "JUPYTERHUB_API_TOKEN": "stolen",
        "COURSEYARD_HUB_ADDRESS": "10.0.0.1:80",
        "MINE": "x",
    }
    world.course("sneaky", kubespawner_override=Override(environment=sneaky))
    env = world.plan("stu", "sneaky").environment
    assert env["EDITOR"] == "vim"
    assert env["MINE"] == "x"
    assert env["PYTHONPATH"] == "/m/uni/software/pymod:/coursedata/lib"
    assert (env["NB_USER"], env["HOME"], env["TEST_HUB"]) == ("stu", "/home/stu", "1")
    assert not {n for n in env if n.startswith(("JUPYTERHUB_", "COURSEYARD_"))}


def test_limits(world: World) -> None:
    student, teacher = world.plan("stu", "algo"), world.plan("ines", "algo-instructor")
    gib = 1024**3
    assert (student.limits.mem_limit, student.limits.mem_guarantee) == (5 * gib, gib // 2)
    assert teacher.limits.mem_guarantee == gib
    assert (student.limits.cpu_limit, student.limits.cpu_guarantee) == (4.0, 0.1)
    assert (student.culling.inactive, student.culling.max_age) == (3600, 8 * 3600)
    assert (student.start_timeout, student.http_timeout) == (300, 60)


def test_a_courses_own_limits(world: World) -> None:
    own = Override(
        mem_limit="2G",
        mem_guarantee="100M",
        cpu_limit=1,
        cpu_guarantee=1,
        cull_inactive_time="2h",
        cull_max_age="1d",
        start_timeout="10m",
        http_timeout=30,
        extra_resource_limits={"nvidia.com/gpu": "1"},
        extra_resource_guarantees={"nvidia.com/gpu": "1"},
        node_selector={"gpu": "yes"},
        tolerations=({"key": "gpu"},),
        priority_class_name="teaching",
        image_pull_policy="Always",
        site_allowed={"x": 1},
    )
    world.course("own", kubespawner_override=own)
    plan = world.plan("stu", "own")
    assert (plan.limits.mem_limit, plan.limits.mem_guarantee) == (2 * 1024**3, 100 * 1024**2)
    assert (plan.limits.cpu_limit, plan.limits.cpu_guarantee) == (1.0, 1.0)
    assert (plan.culling.inactive, plan.culling.max_age) == (7200, 86400)
    assert (plan.start_timeout, plan.http_timeout) == (600, 30)
    assert plan.limits.extra_limits == {"nvidia.com/gpu": "1"}
    assert plan.limits.extra_guarantees == {"nvidia.com/gpu": "1"}
    assert plan.kubernetes.node_selector == {"gpu": "yes"}
    assert plan.kubernetes.tolerations == ({"key": "gpu"},)
    assert plan.kubernetes.site_allowed == {"x": 1}
    assert plan.reasons["limits.mem_limit"] == "`kubespawner_override.mem_limit` of the course"


def test_a_guarantee_is_cut_to_the_limit_and_says_so(world: World) -> None:
    world.course(
        "tiny",
        instructors={"ines"},
        kubespawner_override=Override(mem_limit="256M", cpu_limit=0.05),
    )
    plan = world.plan("ines", "tiny-instructor")
    assert plan.limits.mem_guarantee == plan.limits.mem_limit == 256 * 1024**2
    assert plan.limits.cpu_guarantee == plan.limits.cpu_limit == 0.05
    assert "cut to mem_limit" in plan.reasons["limits.mem_guarantee"]
    assert "cut to cpu_limit" in plan.reasons["limits.cpu_guarantee"]


def test_images(world: World) -> None:
    early = ImageWish(family="DEFAULT", released_by=date(2026, 8, 15))
    bare = ImageWish(reference="else:where")
    world.course("dated", image=early, image_instructor=bare, instructors={"ines"})
    world.course("over", kubespawner_override=Override(image=early))
    assert world.plan("stu", "algo").image.path == Path("/images/new")
    student = world.plan("stu", "dated").image
    assert (student.reference, student.family, student.released) == (
        "py:old",
        "DEFAULT",
        "2026-08-01",
    )
    teacher = world.plan("ines", "dated-instructor").image
    assert (teacher.reference, teacher.family, teacher.released, teacher.path) == (
        "else:where",
        "",
        "",
        None,
    )
    assert world.plan("stu", "over").image.reference == "py:old"
    assert world.plan("stu", "general/classic").image.reference == "py:old"


def test_a_missing_image_is_a_sentence(world: World) -> None:
    world.course("none", image=ImageWish(family="JULIA"))
    with pytest.raises(PlanError, match=r"The software of “None” is not available here") as caught:
        world.plan("stu", "none")
    assert caught.value.next_step


def test_nbgrader_of_an_instructor(world: World) -> None:
    world.course("ng", instructors={"ines"}, nbgrader_config="c.Execute.timeout = 5\n")
    nbgrader = world.plan("ines", "ng-instructor").nbgrader
    assert nbgrader is not None
    directory, exchange = nbgrader.config["CourseDirectory"], nbgrader.config["Exchange"]
    assert directory["root"] == "/course"
    assert directory["course_id"] == "ng"
    assert directory["groupshared"] is True
    assert directory["db_url"] == "sqlite:////course/gradebook.db?timeout=60"
    assert {".ipynb_checkpoints", "__pycache__", "feedback", ".*"} <= set(directory["ignore"])
    assert directory["max_file_size"] == 30_000
    assert exchange["root"] == "/srv/nbgrader/exchange"
    assert exchange["assignment_dir"] == "/notebooks/"
    assert exchange["path_includes_course"] is True
    assert exchange["timezone"] == "Europe/Helsinki"
    assert nbgrader.config["Execute"]["timeout"] == 240
    assert nbgrader.config["Validator"]["validate_all"] is True
    assert nbgrader.formgrader
    assert nbgrader.create_assignment
    assert nbgrader.assignment_list
    assert nbgrader.validate_assignment
    assert nbgrader.append_file == "/course/etc.jupyter.nbgrader_config.py.append"
    assert nbgrader.rehearsal_exchange == "/course/test-instructor-exchange"
    assert nbgrader.extra_lines == "c.Execute.timeout = 5\n"
    assert nbgrader.fixed == {
        "ExchangeFactory": {"collect": COLLECT, **RELEASE},
        "ExchangeCollect": {"people": "/srv/nbgrader/people"},
        "Autograde": {"autograde_preprocessors": list(AUTOGRADE)},
    }
    assert nbgrader.config["ExchangeFactory"] == EXCHANGE_PARTS
    environment = world.plan("ines", "ng-instructor").environment
    assert environment["NBGRADER_REHEARSAL_EXCHANGE"] == nbgrader.rehearsal_exchange


def test_students_code_is_graded_beside_the_server(world: World) -> None:
    """Trap 10: nothing of the instructors is there, neither folders nor groups nor variables."""
    plan = world.plan("ines", "algo-instructor")
    grading = plan.grading
    assert grading is not None
    inner = beside.plan_of(plan, "ines.algo-instructor.0a1b")
    assert inner.identity.uid in GRADING_UIDS
    assert inner.identity.uid > world.site.people.max_uid, "nobody's"
    told = inner.model_dump_json(include={"identity", "mounts", "environment"})
    for name in (plan.identity.username, plan.identity.full_name, plan.identity.email):
        assert name in plan.model_dump_json()
        assert name not in told
    assert grading.identity.gid != plan.identity.gid
    assert not {g.gid for g in grading.identity.supplementary} & {plan.identity.gid}
    assert not any(mount.writable for mount in grading.mounts)
    shown = {mount.source.partition("/")[0] for mount in grading.mounts}
    assert shown <= {"shareddata", "software", "course"}
    assert all(m.target == "/coursedata" for m in grading.mounts if m.source.startswith("course/"))
    assert "/course/pymod" in plan.environment["PYTHONPATH"]
    assert "/course/" not in grading.environment["PYTHONPATH"]
    assert "NBGRADER_REHEARSAL_EXCHANGE" not in grading.environment
    assert world.plan("ines", "algo").grading is None


def test_nbgrader_of_a_student(world: World) -> None:
    plan = world.plan("ines", "algo")
    nbgrader = plan.nbgrader
    assert nbgrader is not None
    assert not nbgrader.formgrader
    assert not nbgrader.create_assignment
    assert nbgrader.assignment_list
    assert nbgrader.validate_assignment
    assert nbgrader.append_file == nbgrader.rehearsal_exchange == ""
    assert nbgrader.fixed == {}
    assert "db_url" not in nbgrader.config["CourseDirectory"]
    assert "NBGRADER_REHEARSAL_EXCHANGE" not in plan.environment


def test_storage_needs(world: World) -> None:
    world.course("data", uid=41001, gid=41002, datadir=True, instructors={"ines"})
    plan = world.plan("ines", "data-instructor")
    needs = {(n.kind, n.slug): n for n in plan.storage}
    assert len(needs) == len(plan.storage)
    course = needs[StorageKind.COURSE, "data"]
    assert (course.uid, course.gid, course.datadir, course.gradebook) == (41001, 41002, True, True)
    assert needs[StorageKind.COURSE, "algo"].gradebook is False
    exchange = needs[StorageKind.EXCHANGE, "data"]
    assert (exchange.uid, exchange.gid) == (41001, 41002)
    user = needs[StorageKind.USER, ""]
    assert (user.username, user.uid, user.gid) == ("ines", 21007, 20000)
    student = {n.kind for n in world.plan("stu", "algo").storage}
    assert student == {
        StorageKind.SITE, StorageKind.USER, StorageKind.EXCHANGE, StorageKind.COURSE_MEMBER,
    }  # fmt: skip


def test_students_are_written_down_where_they_may_hand_in(world: World) -> None:
    world.course("listed", restrict_submit=True, students={"stu"}, instructors={"ines"})
    world.course("gpu", coursedir_slug="algo", gid=30001, instructors={"otto"})
    world.course("old", archive=True)
    world.course("again", coursedir_slug="old", gid=30005)
    for who, target, slug in (
        ("stu", "algo", "algo"),
        ("ines", "algo", "algo"),  # an instructor who tries it as a student
        ("stu", "gpu", "algo"),
        ("stu", "listed", "listed"),
        ("other", "listed", ""),
        ("stu", "again", ""),
        ("ines", "algo-instructor", ""),
        ("otto", "gpu-instructor", ""),
        ("stu", "general", ""),
    ):
        found = [n for n in world.plan(who, target).storage if n.kind is StorageKind.COURSE_MEMBER]
        assert [(n.slug, n.username, n.uid, n.gid) for n in found] == (
            [(slug, who, 21007, world.courses[slug].gid)] if slug else []
        ), (who, target)


def test_who_takes_a_course_is_for_its_instructors_alone(world: World) -> None:
    world.course("data", datadir=True, create_userdata=True, instructors={"ines"})
    for who, target in (("stu", "data"), ("ines", "data"), ("ines", "general"), ("stu", "general")):
        assert not any(m.source.endswith("/people") for m in world.plan(who, target).mounts)
    plan = world.plan("ines", "data-instructor")
    (seen,) = [m for m in plan.mounts if m.source.endswith("/people")]
    assert (seen.target, seen.source, seen.writable) == (
        "/srv/nbgrader/people",
        "course/data/people",
        False,
    )
    assert seen.reason


def test_every_mount_has_its_need(world: World) -> None:
    world.course("data", datadir=True, create_userdata=True, instructors={"ines"})
    world.course("old", archive=True, datadir=True, instructors={"ines"})
    for who, target in (("stu", "data"), ("ines", "data-instructor"), ("ines", "general")):
        plan = world.plan(who, target)
        slugs = {n.slug for n in plan.storage}
        for mount in plan.mounts:
            top, _, rest = mount.source.partition("/")
            assert top in ("u", "shareddata", "software") or rest.split("/")[0] in slugs


def test_home_links(world: World) -> None:
    storage = world.site.storage.model_copy(update={"home_links": (".julia/", ".Rprofile")})
    world.site = world.site.model_copy(update={"storage": storage})
    links = world.plan("stu", "algo").home_links
    assert len(links) == len(HOME_LINKS) + 2
    assert HomeLink(path=".gitconfig", folder=False) in links
    assert HomeLink(path=".ssh", folder=True) in links
    assert HomeLink(path=".bash_history", folder=False) in links
    assert HomeLink(path=".local/share/jupyter/nbgrader_cache", folder=True) in links
    assert HomeLink(path=".julia", folder=True) in links
    assert HomeLink(path=".Rprofile", folder=False) in links


@pytest.mark.parametrize(
    ("who", "target", "rule"),
    [
        ("stu", "algo-instructor", "not-instructor"),
        ("admin", "algo-instructor", "not-instructor"),
        ("stu", "missing", "no-such-course"),
        ("stu", "secret", "no-such-course"),
        ("ines", "old", "archived"),
        ("ines", "old-instructor", "archived"),
        ("root", "general", "system-account"),
        ("stu", "general/missing", "no-such-environment"),
        ("stu", "../../etc", "no-such-course"),
    ],
)
def test_nobody_plans_what_is_not_allowed(world: World, who: str, target: str, rule: str) -> None:
    world.course("secret", private=True)
    world.course("old", archive=True, instructors={"ines"})
    with pytest.raises(DeniedError) as caught:
        world.plan(who, target)
    assert f"rule {rule}:" in caught.value.detail


def test_the_default_page(world: World) -> None:
    world.course("url", kubespawner_override=Override(default_url="/lab/tree/x"), jupyterlab=False)
    assert world.plan("stu", "algo").default_url == "/lab"
    assert world.plan("stu", "url").default_url == "/lab/tree/x"
    assert world.plan("stu", "general/classic").default_url == "/tree"
    assert world.plan("stu", "algo").start_folder == "/notebooks"
    assert world.plan("ines", "algo-instructor").start_folder == "/course"
    assert world.plan("ines", "algo-instructor").own_folder == "/notebooks"


def test_labels_fit_kubernetes(world: World) -> None:
    assert label_value("ines") == "ines"
    for odd in ("_ines", "a.", "x" * 64, ""):
        value = label_value(odd)
        assert 0 < len(value) <= 63
        assert value[0].isalnum()
        assert value[-1].isalnum()
    assert label_value("_a") != label_value("-a")
    assert world.plan("ines", "algo-instructor").labels == {
        "courseyard/user": "ines",
        "courseyard/role": "instructor",
        "courseyard/server": "algo-instructor",
        "courseyard/course": "algo",
    }


def test_a_plan_is_frozen_and_goes_through_json(world: World) -> None:
    plan = world.plan("ines", "algo-instructor")
    assert ServerPlan.from_json(plan.to_json()) == plan
    with pytest.raises(ValueError, match="frozen"):
        plan.title = "other"
    assert copy.deepcopy(plan) == plan
