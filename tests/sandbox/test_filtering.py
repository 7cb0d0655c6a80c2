"""Filters against a plain look at every link, while links come, change, age and go."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from typing import Any
from urllib.parse import urlencode

import pytest
from attrs import evolve
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from belvo_links.sandbox import Switches, columns, life, links
from belvo_links.sandbox.calls import Call, list_links
from belvo_links.sandbox.filters import parse_query
from belvo_links.sandbox.rules import institution_user_id
from belvo_links.sandbox.state import Account, StoredLink, timestamp
from belvo_links.sandbox.world import World

START = datetime(2026, 3, 1, 9, 0, 0, 100000, UTC)
BANKS = ("erebor_mx_retail", "gringotts_co_retail")
USERS = ("ana", "bea", "sim_lapse_invalid", "sim_lapse_later", "sim_mfa_text")
STATUSES = ("valid", "invalid", "token_required", "unconfirmed")
EXTERNAL_IDS = (None, "user-1", "user-2", "user-3", "eve", "null")
RATES = (None, "6h", "7d")
CREATORS = ("00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002")


def status_of(link: StoredLink, now: datetime) -> str:
    if link.status == "valid" and link.stored_until is not None and now >= link.stored_until:
        return "invalid"
    if link.status == "valid" and link.lapse is not None and now >= link.lapse.at:
        return link.lapse.to
    return link.status


PASSES: Mapping[str, Callable[[StoredLink, str, datetime], bool]] = {
    "id": lambda link, value, now: link.id == value,
    "id__in": lambda link, value, now: link.id in value.split(","),
    "institution": lambda link, value, now: link.institution == value,
    "institution__in": lambda link, value, now: link.institution in value.split(","),
    "access_mode": lambda link, value, now: link.access_mode == value,
    "status": lambda link, value, now: status_of(link, now) == value,
    "status__in": lambda link, value, now: status_of(link, now) in value.split(","),
    "external_id": lambda link, value, now: link.external_id == value,
    "external_id__in": lambda link, value, now: link.external_id in value.split(","),
    "institution_user_id": lambda link, value, now: link.institution_user_id == value,
    "institution_user_id__in": lambda link, value, now: link.institution_user_id in value.split(","),
    "refresh_rate": lambda link, value, now: (link.refresh_rate or "null") == value,
    "created_by__not_in": lambda link, value, now: link.created_by not in value.split(","),
    "created_at": lambda link, value, now: timestamp(link.created_at)[: len(value)] == value,
    "created_at__gt": lambda link, value, now: timestamp(link.created_at) > value,
    "created_at__gte": lambda link, value, now: timestamp(link.created_at) >= value,
    "created_at__lt": lambda link, value, now: timestamp(link.created_at) < value,
    "created_at__lte": lambda link, value, now: timestamp(link.created_at) <= value,
    "created_at__range": lambda link, value, now: value[:27] <= timestamp(link.created_at) <= value[28:],
}
VALUES: Mapping[str, tuple[str, ...]] = {
    "institution": (*BANKS, "nowhere"),
    "access_mode": ("single", "recurrent"),
    "status": (*STATUSES, "odd"),
    "external_id": ("user-1", "user-2", "user-3", "eve", "null", "nobody"),
    "institution_user_id": tuple(institution_user_id(bank, user) for bank in BANKS for user in USERS),
    "refresh_rate": ("6h", "7d", "null"),
    "created_by__not_in": CREATORS,
}


def own_value(link: StoredLink, name: str, now: datetime) -> str:
    base, _, suffix = name.partition("__")
    if base == "created_at":
        moment = timestamp(link.created_at)
        return f"{moment},{moment}" if suffix == "range" else moment
    return status_of(link, now) if base == "status" else getattr(link, base) or "null"


class Filtered(RuleBasedStateMachine):
    """Two accounts, whose lists are compared with a look at each of their links."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.world = World.create(7, lambda: self.now, Switches())
        self.accounts: list[Account] = []
        self.names = cycle(PASSES)

    @initialize()
    def open(self) -> None:
        for user in CREATORS:
            self.accounts.append(evolve(self.world.add_account(), user=user))

    def links(self, account: Account) -> list[StoredLink]:
        """Newest first, found by nothing but a look at all of them."""
        everything = [self.world.links.get(each) for each in self.ids]
        mine = [link for link in everything if link is not None and link.account == account.secret_id]
        return sorted(mine, key=lambda link: (link.created_at, link.number), reverse=True)

    @property
    def ids(self) -> list[str]:
        return list(self.world.links._by_id)

    @rule(
        number=st.integers(1, 12),
        which=st.integers(0, 1),
        bank=st.sampled_from(BANKS),
        username=st.sampled_from(USERS) | st.none(),
        mode=st.sampled_from(["single", "recurrent"]),
        status=st.sampled_from(["valid", *STATUSES]),
        storage=st.sampled_from(["store", "nostore", "1d", "7d", "365d"]) | st.none(),
        external_id=st.sampled_from(EXTERNAL_IDS) | st.just("each its own"),
        refresh_rate=st.sampled_from(RATES),
        logged_in=st.booleans(),
    )
    def add(
        self,
        number: int,
        which: int,
        bank: str,
        username: str | None,
        mode: Any,
        status: Any,
        storage: str | None,
        external_id: str | None,
        refresh_rate: str | None,
        logged_in: bool,
    ) -> None:
        more: Any = {"institution": bank, "access_mode": mode, "status": status, "refresh_rate": refresh_rate}
        if username is not None:
            more["username"] = username
        if storage is not None:
            more["credentials_storage"] = storage
        if external_id != "each its own":
            more["external_id"] = external_id
        [newest, *_] = self.world.add_links(number, self.accounts[which], more, announce=False)
        link = self.world.links.get(newest)
        if logged_in and link is not None:
            life.after_login(self.world, evolve(link, last_accessed_at=self.now), "patch")

    @precondition(lambda self: self.ids)
    @rule(data=st.data(), status=st.sampled_from(STATUSES), external_id=st.sampled_from(EXTERNAL_IDS))
    def change(self, data: st.DataObject, status: Any, external_id: str | None) -> None:
        link = self.one(data)
        self.world.links.put(evolve(link, status=status, external_id=external_id))

    @precondition(lambda self: self.ids)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        self.world.remove(self.one(data).id)

    @precondition(lambda self: self.ids)
    @rule(data=st.data())
    def write_down(self, data: st.DataObject) -> None:
        self.world.find(self.one(data).id)

    @precondition(lambda self: self.ids)
    @rule(data=st.data(), late=st.sampled_from([-1, 0]))
    def wait_for_a_change(self, data: st.DataObject, late: int) -> None:
        due = self.one(data).changes_at
        if due.year < 9999:
            self.now = max(self.now, due + late * timedelta(microseconds=1))

    @rule(step=st.sampled_from([timedelta(minutes=15), timedelta(days=1), timedelta(days=8), timedelta(days=400)]))
    def wait(self, step: timedelta) -> None:
        self.now += step
        self.world.settle()

    def one(self, data: st.DataObject) -> StoredLink:
        link = self.world.links.get(data.draw(st.sampled_from(self.ids)))
        assert link is not None
        return link

    def value(self, data: st.DataObject, name: str) -> str:
        base, _, suffix = name.partition("__")
        if base == "created_at":
            moments = [timestamp(link.created_at) for account in self.accounts for link in self.links(account)]
            moment = st.sampled_from([*moments, timestamp(self.now)])
            if suffix == "range":
                return f"{data.draw(moment)},{data.draw(moment)}"
            return data.draw(moment)[: data.draw(st.sampled_from([10, 27]))] if not suffix else data.draw(moment)
        if base == "id":
            values = st.sampled_from([*self.ids, "00000000-0000-4000-8000-000000000000"])
        else:
            values = st.sampled_from(VALUES.get(name) or VALUES[base])
        if not suffix:
            return data.draw(values)
        return ",".join(data.draw(st.lists(values, min_size=1, max_size=4)))

    @rule(
        data=st.data(),
        which=st.integers(0, 1),
        names=st.sets(st.sampled_from(sorted(PASSES)), max_size=3),
        size=st.sampled_from([1, 3, 10, 1000]),
    )
    def ask(self, data: st.DataObject, which: int, names: set[str], size: int) -> None:
        self.compare(self.accounts[which], {name: self.value(data, name) for name in names}, size)

    @invariant()
    def a_link_is_found_by_what_it_has(self) -> None:
        """In both accounts, one of which it is not in; a few filters after each step, all of them in turn."""
        links = sorted((link for account in self.accounts for link in self.links(account)), key=lambda link: link.id)
        for name in islice(self.names, 4 if links else 0):
            value = own_value(links[len(links) // 2], name, self.now)
            for account in self.accounts:
                self.compare(account, {name: value}, 1000)

    def compare(self, account: Account, filters: dict[str, str], size: int) -> None:
        wanted = [
            link.id
            for link in self.links(account)
            if all(PASSES[name](link, value, self.now) for name, value in filters.items())
        ]
        seen: list[str] = []
        page = 1
        while True:
            query = parse_query(urlencode({**filters, "page_size": size, "page": page}))
            call = Call(world=self.world, account=account, url="http://x/", query=query, headers={}, body={}, item="")
            body: Any = list_links(call).body
            assert body["count"] == len(wanted)
            seen += [link["id"] for link in body["results"]]
            if body["next"] is None:
                break
            page += 1
        assert seen == wanted


@pytest.mark.hypothesis
@pytest.mark.parametrize(
    "codes, block, few, many",
    [(255, 4096, 1000, 20), (2, 4, 3, 1), (2, 4, 1000, 1_000_000), (1, 1, 1, 4)],
    ids=["as they are", "looked up", "looked at", "tiny"],
)
def test_filters_find_what_a_plain_look_finds(
    monkeypatch: pytest.MonkeyPatch, codes: int, block: int, few: int, many: int
) -> None:
    """Page by page, whatever happens to the links, and where the limits of the columns are reached."""
    monkeypatch.setattr(columns, "RARE", codes)
    monkeypatch.setattr(links, "_BLOCK", block)
    monkeypatch.setattr(links, "_FEW", few)
    monkeypatch.setattr(links, "_MANY", many)
    fewer = settings().max_examples // 5  # in each of the four
    run_state_machine_as_test(
        Filtered, settings=settings(Filtered.TestCase.settings, max_examples=fewer, report_multiple_bugs=False)
    )
