"""A hub that starts again finds fifty running servers, and cuts nobody off."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.faults.town import Person, Town, until

SERVERS = 50
PEOPLE = 10  # each with five


def test_a_hub_that_starts_again() -> None:
    town = Town.make(people=PEOPLE)
    try:
        for number in range(4):
            town.write(
                f"courses/c{number}.yaml", {"name": f"Course {number}", "gid": 20601 + number}
            )
        town.up()
        before = town.world()
        people = [Person(town, name) for name in town.people]
        links = ["algo", *(f"c{number}" for number in range(4))]

        def all_of(person: Person) -> None:
            for link in links:
                person.begin(link)
            for link in links:
                until(lambda link=link: person.answers(link), f"{link} of {person.username}")

        with ThreadPoolExecutor(PEOPLE) as pool:
            list(pool.map(all_of, people))
        assert len(town.servers()) == SERVERS
        running = town.world()
        pids = {(p.username, link): p.answers(link)["pid"] for p in people for link in links}  # type: ignore[index]
        town.kill_and_wait("hub")
        for person in people:
            for link in links:
                found = until(lambda p=person, link=link: p.answers(link), f"{link}")
                assert found["pid"] == pids[person.username, link]
        town.settle(running)
        town.kill_and_wait("agent")
        town.settle(running)
        for person in people:
            for link in links:
                person.stop(link)
        town.settle(before)
    finally:
        town.close()
