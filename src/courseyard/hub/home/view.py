"""The course page as data for its template: cards, buttons and notices.

What a person may start comes from :mod:`courseyard.hub.home.offers`; what runs, from JupyterHub.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from courseyard.access import Relation, Role
from courseyard.errors import CourseyardError
from courseyard.hub.home import offers as offered
from courseyard.hub.home import words
from courseyard.hub.planned import running_servers
from courseyard.hub.runtime import Runtime
from courseyard.images.catalog import parse_wish
from courseyard.registry.lifecycle import State
from courseyard.units import format_bytes

#: From this many courses on the search field is shown.
_SEARCH_FROM = 7


@dataclass(frozen=True, slots=True)
class Chip:
    kind: str  # class of the style sheet: "", running, teaching, warning
    text: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Server:
    """One thing to start, open or stop on a card."""

    name: str
    link: str
    state: str  # off, running, pending
    first: bool  # the card's one filled button
    url: str
    pending_url: str
    start_label: str
    open_label: str
    stop_label: str


@dataclass(frozen=True, slots=True)
class Card:
    title: str
    slug: str
    chips: tuple[Chip, ...]
    notes: tuple[str, ...]
    servers: tuple[Server, ...]
    running: bool
    problems: tuple[str, ...] = ()  # of its files, for staff


@dataclass(frozen=True, slots=True)
class Notice:
    kind: str  # "" or bad
    title: str
    text: str
    dismiss: str = ""  # server name
    problems: str = ""  # slug of the card that tells more


@dataclass(frozen=True, slots=True)
class CoursePage:
    notices: tuple[Notice, ...]
    cards: tuple[Card, ...]
    general: tuple[Card, ...]
    query: str
    searchable: bool
    found: str


async def course_page(runtime: Runtime, user: Any, query: str) -> CoursePage:
    """The page of one user.

    Raises:
        PeopleError: the person is not known now.
    """
    person = await runtime.person(user.name)
    build = _Build(runtime, user)
    found = offered.offers(
        runtime.site,
        runtime.registry.snapshot,
        person,
        build.running(),
        build.now,
        recent=build.recent(),
        search=query,
    )
    general = () if query else tuple(build.environment(card) for card in found.environments)
    return CoursePage(
        notices=tuple(build.notices(found)),
        cards=tuple(build.card(card) for card in found.cards),
        general=(*general, *build.leftovers()),
        query=query,
        searchable=bool(query) or found.total >= _SEARCH_FROM,
        found=_found(found, query),
    )


def _found(found: offered.Offers, query: str) -> str:
    shown = len(found.cards)
    if query:
        return words.found(shown, found.more)
    return words.shown_first(shown, found.total) if shown < found.total else ""


class _Build:
    """Puts offers and running servers of one user together."""

    def __init__(self, runtime: Runtime, user: Any) -> None:
        self.runtime, self.user, self.now = runtime, user, runtime.now()
        self.spawners = {s.name: s for s in user.spawners.values() if s.active and s.name}

    def running(self) -> dict[str, offered.Running]:
        """What runs, for :func:`courseyard.hub.home.offers.offers`."""
        return {
            name: offered.Running(
                target=self.runtime.target(name),
                since=self._started(spawner),
                pending=spawner.pending if spawner.pending in ("spawn", "stop") else "",
            )
            for name, spawner in self.spawners.items()
        }

    def recent(self) -> list[str]:
        """Names of servers that the person used, the last used first."""
        used = [(s.last_activity, s.name) for s in self.user.orm_user._orm_spawners if s.name]
        return [name for at, name in sorted((u for u in used if u[0]), reverse=True)]

    def _started(self, spawner: Any) -> datetime | None:
        started = spawner.orm_spawner.started
        if started is None:
            return None
        moment: datetime = started.replace(tzinfo=UTC).astimezone(self.runtime.site.tz)
        return moment

    def card(self, card: offered.Card) -> Card:
        chips = [*self._state_chips(card), *_role_chips(card.roles)]
        if since := self._since(card.starts):
            chips = [since, *chips]
        notes = () if card.starts else (words.NOTHING_TO_START[card.state.value],)
        return Card(
            title=card.title,
            slug=card.slug,
            chips=tuple(chips),
            notes=notes,
            servers=self._servers(card.starts),
            running=card.running,
            problems=tuple(words.problem(p) for p in card.problems),
        )

    def environment(self, card: offered.EnvironmentCard) -> Card:
        since = self._since((card.start,))
        first = next(iter(self.runtime.site.environments)) == card.key
        return Card(
            title=card.title,
            slug="",
            chips=(since,) if since else (),
            notes=(self._about(card),),
            servers=self._servers((card.start,), filled=first or card.start.running is not None),
            running=card.start.running is not None,
        )

    def leftovers(self) -> list[Card]:
        """Servers whose course is gone: they can still be opened and stopped."""
        found = []
        for name, spawner in self.spawners.items():
            if self.runtime.target(name) is None:
                server = self._server(name, "", Role.GENERAL, first=True, several=False)
                title = spawner.title or name
                found.append(Card(title, "", (), (words.COURSE_GONE,), (server,), running=True))
        return found

    def _about(self, card: offered.EnvironmentCard) -> str:
        parts = [card.description] if card.description else []
        try:
            wish = parse_wish(self.runtime.site.environments[card.key].image)
            release = self.runtime.catalog.resolve(wish)
        except (CourseyardError, ValueError):
            parts.append(words.NOT_INSTALLED)
        else:
            if release.released:
                parts.append(words.software_of(release.released))
        parts.append(words.memory(format_bytes(self.runtime.site.servers.mem_limit)))
        return " · ".join(parts)

    def _servers(
        self, starts: tuple[offered.Start, ...], *, filled: bool = True
    ) -> tuple[Server, ...]:
        ordered = sorted(starts, key=lambda start: start.running is None)
        return tuple(
            self._server(
                start.server_name,
                str(start.target),
                start.target.role,
                first=filled and place == 0,
                several=len(ordered) > 1,
                after_start=place > 0 and ordered[0].running is None,
            )
            for place, start in enumerate(ordered)
        )

    def _server(
        self,
        name: str,
        link: str,
        role: Role,
        *,
        first: bool,
        several: bool,
        after_start: bool = False,
    ) -> Server:
        spawner = self.spawners.get(name)
        if after_start:
            start = words.AS[role]
        elif several or role is Role.INSTRUCTOR:
            start = words.START_AS[role]
        else:
            start = words.START
        base = f"{self.runtime.places.base_url}hub/spawn-pending/"
        return Server(
            name=name,
            link=link,
            state="off" if spawner is None else "running" if spawner.ready else "pending",
            first=first,
            url=self.user.server_url(name),
            pending_url=f"{base}{self.user.escaped_name}/{quote(name)}",
            start_label=start,
            open_label=words.OPEN_AS[role] if several else words.OPEN,
            stop_label=words.STOP,
        )

    def _since(self, starts: tuple[offered.Start, ...]) -> Chip | None:
        for start in starts:
            if start.running is None:
                continue
            if start.running.pending:
                stopping = start.running.pending == "stop"
                return Chip("running", words.STOPPING if stopping else words.STARTING)
            since = start.running.since
            if since is None:
                return Chip("running", words.RUNNING)
            return Chip("running", words.running_since(since, self.now), words.exact(since))
        return None

    def _state_chips(self, card: offered.Card) -> list[Chip]:
        if card.state is State.PUBLIC:
            return []
        course = self.runtime.registry.snapshot.courses[card.slug]
        opens = course.public_date
        if card.state is State.DRAFT and opens is not None and opens > self.now:
            moment = opens.astimezone(self.runtime.site.tz)
            return [Chip("", words.opens(moment), words.exact(moment))]
        return [Chip("", words.STATE[card.state.value], words.STATE_MEANS[card.state.value])]

    def notices(self, found: offered.Offers) -> list[Notice]:
        made = [
            Notice("", words.ended(ending.title), ending.message, dismiss=name)
            for name, ending in self.runtime.endings(self.user.name).items()
        ]
        for card in found.cards:
            if card.stale_since is not None:
                since = card.stale_since.astimezone(self.runtime.site.tz)
                text = words.stale(since, card.problems)
                made.append(Notice("", card.title, text, problems=card.slug))
            if card.incomplete:
                told = card.slug if card.problems else ""
                made.append(Notice("", card.title, words.INCOMPLETE, problems=told))
        limit = self.runtime.site.servers.per_user
        if len(running_servers(self.user)) >= limit:
            made.append(Notice("", words.AT_LIMIT, words.at_limit(limit)))
        return made


def _role_chips(roles: frozenset[Relation]) -> list[Chip]:
    for relation, kind, text in (
        (Relation.INSTRUCTOR, "teaching", words.ROLE[Role.INSTRUCTOR]),
        (Relation.MANAGER, "", words.MANAGER),
        (Relation.SUPERVISOR, "", words.SUPERVISOR),
        (Relation.STUDENT, "", words.ROLE[Role.STUDENT]),
    ):
        if relation in roles:
            return [Chip(kind, text)]
    return []
