"""Whatever is done to them, the SQLite store and the memory store answer alike.

Covers: themis.core.store, themis.stores.memory, themis.stores.sqlite, themis.testing.store_contract
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from themis.core.base import RunId
from themis.core.errors import StoreError
from themis.core.events import Event, EventKind, Stage, StepAddress
from themis.core.store import RunStore
from themis.stores import InMemoryRunStore, SqliteRunStore
from themis.testing.store_samples import (
    artifact,
    artifact_facts,
    done,
    facts,
    key,
    note,
    owner,
    reused,
    snapshot,
    stored_case,
)

NAMES = ("a", "b", "c")
SNAPSHOTS = [snapshot("one", ["t1:x", "t1:y"]), snapshot("two", ["t1:y"]), snapshot("three")]
RUNS = [made.run_id for made in SNAPSHOTS]
FINGERPRINTS = ("t1:x", "t1:y", "t1:data")

runs = st.sampled_from(RUNS)
numbers = st.integers(1, 12)
values = st.one_of(
    st.sampled_from(["same", "other", "large"]).map(lambda s: s * 15_000 if s == "large" else s),
    st.integers(),
    st.text(max_size=5),
)
brought = st.builds(
    lambda seq, name, value, code, supersedes, case, sample: (
        lambda: done(
            seq,
            artifact(name, value, code=code, supersedes=supersedes),
            case_index=case,
            address=StepAddress(Stage.SCORE, sample, "metric", None),
        )
    ),
    numbers,
    st.sampled_from(NAMES),
    values,
    st.sampled_from([None, None, "v1", "v2"]),
    st.sampled_from([False, False, False, True]),
    st.integers(0, 3),
    st.one_of(st.none(), st.integers(0, 2)),
)
noted = st.builds(lambda seq, text: lambda: note(seq, text), numbers, st.text(max_size=3))
makers = st.lists(st.one_of(brought, brought, noted), max_size=5)
"""Makers of events: each store is given its own, since appending sets their versions."""


class TwoStores(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.memory: RunStore = InMemoryRunStore()
        self.sqlite: RunStore = SqliteRunStore(
            Path(self.folder.name) / "runs.db", synchronous="off"
        )
        self.leases: list[tuple[Any, Any]] = []

    def teardown(self) -> None:
        self.sqlite.close()
        self.folder.cleanup()

    def both(self, act: Callable[[RunStore], Any]) -> tuple[Any, Any]:
        """Do the same to both and return what each gave: a value, or the kind of its error."""
        given = []
        for store in (self.memory, self.sqlite):
            try:
                given.append(act(store))
            except (StoreError, KeyError) as error:
                given.append(type(error))
        return given[0], given[1]

    def agree(self, act: Callable[[RunStore], Any]) -> None:
        one, other = self.both(act)
        assert one == other

    @rule(run=runs, made=makers, epoch=st.sampled_from([0, 1, 2, 9, 9, 9]))
    def append(self, run: RunId, made: list[Callable[[], Event]], epoch: int) -> None:
        def act(store: RunStore) -> Any:
            events = [make() for make in made]
            lost = list(store.append(run, events, epoch=epoch))
            return lost, [facts(event) for event in events]

        self.agree(act)

    @rule(run=runs, seq=numbers, name=st.sampled_from(NAMES), case=st.integers(0, 3))
    def reuse(self, run: RunId, seq: int, name: str, case: int) -> None:
        def act(store: RunStore) -> Any:
            found = store.lookup([key(name)])
            if not found:
                return None
            version = found[key(name)].version
            return list(
                store.append(run, [reused(seq, name, version=version, case_index=case)], epoch=9)
            )

        self.agree(act)

    @rule(run=runs)
    def clear(self, run: RunId) -> None:
        self.agree(lambda store: store.clear_run(run))

    @rule(which=st.integers(0, 2), host=st.text(max_size=3))
    def save_snapshot(self, which: int, host: str) -> None:
        made = SNAPSHOTS[which]
        provenance = made.provenance.model_copy(update={"host": host})
        self.agree(
            lambda store: store.save_snapshot(made.model_copy(update={"provenance": provenance}))
        )

    @rule(
        fingerprint=st.sampled_from(FINGERPRINTS),
        start=st.integers(0, 4),
        names=st.lists(st.sampled_from(["k", "l", "m"]), max_size=3),
        size=st.sampled_from([1, 1, 70_000]),
    )
    def save_cases(self, fingerprint: str, start: int, names: list[str], size: int) -> None:
        cases = [stored_case(name, input="q" * size) for name in names]
        self.agree(lambda store: store.save_cases(fingerprint, start, cases))

    @rule(run=runs, pid=st.integers(1, 3), ttl=st.sampled_from([0.0, 3600.0]), last=st.booleans())
    def lease(self, run: RunId, pid: int, ttl: float, last: bool) -> None:
        takeover = self.leases[-1][0] if last and self.leases else None
        one, other = self.both(lambda store: store.lease(run, owner(pid), ttl, takeover=takeover))
        if isinstance(one, type) or isinstance(other, type):
            assert one == other
        else:
            assert replace(one, since=0, expires=0) == replace(other, since=0, expires=0)
            self.leases.append((one, other))

    @rule(which=st.integers(0, 5), renew=st.booleans())
    def renew_or_release(self, which: int, renew: bool) -> None:
        if not self.leases:
            return
        pair = dict(
            zip(
                (id(self.memory), id(self.sqlite)),
                self.leases[which % len(self.leases)],
                strict=True,
            )
        )

        def act(store: RunStore) -> Any:
            lease = pair[id(store)]
            return store.renew(lease, 3600).beat if renew else store.release(lease)

        self.agree(act)

    @rule(size=st.sampled_from([0, 1, 70_000]))
    def put_blob(self, size: int) -> None:
        data = b"x" * size
        self.agree(lambda store: store.get_blob(store.put_blob(data)))

    @rule()
    def reopen(self) -> None:
        self.sqlite.close()

    @rule(
        run=runs,
        after=st.integers(0, 12),
        kinds=st.one_of(st.none(), st.sets(st.sampled_from(list(EventKind)))),
        start=st.integers(0, 4),
        stop=st.integers(0, 6),
    )
    def read(
        self, run: RunId, after: int, kinds: set[EventKind] | None, start: int, stop: int
    ) -> None:
        self.agree(lambda s: [facts(event) for event in s.events(run, after=after, kinds=kinds)])
        self.agree(lambda s: [facts(event) for event in s.case_events(run, start, stop)])
        for fingerprint in FINGERPRINTS:
            self.agree(lambda s, f=fingerprint: list(s.cases(f, start, stop)))  # type: ignore[misc]
            self.agree(lambda s, f=fingerprint: s.find_case(f, "k"))  # type: ignore[misc]

    @invariant()
    def they_answer_alike(self) -> None:
        names = [key(name) for name in NAMES]
        self.agree(lambda s: {k: artifact_facts(a) for k, a in s.lookup(names).items()})
        self.agree(lambda s: {record.run_id for record in s.runs()})
        for run in RUNS:
            self.agree(lambda s, r=run: s.load_snapshot(r))  # type: ignore[misc]
            self.agree(lambda s, r=run: [facts(e) for e in s.events(r)])  # type: ignore[misc]


TestTwoStores = TwoStores.TestCase
TestTwoStores.settings = settings(
    max_examples=25,
    stateful_step_count=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
