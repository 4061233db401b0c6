"""The part of the store contract about the journal: appending, reading, looking up.

Subclass ``StoreContract`` in ``store_contract``, which includes these tests.
"""

from __future__ import annotations

import threading
from typing import Any

import pytest

from themis.core.errors import JournalConflictError
from themis.core.events import Artifact, Event, EventKind, Stage, StepAddress
from themis.core.store import RunStore
from themis.testing.store_samples import (
    OTHER_RUN,
    RUN,
    artifact,
    artifact_facts,
    done,
    facts,
    key,
    note,
    reused,
)


def _payloads(store: RunStore, run_id: Any = RUN) -> list[Any]:
    found = [event.artifact for event in store.events(run_id)]
    return [None if one is None else one.payload["value"] for one in found]


class JournalContract:
    """Tests of events, artifacts and their versions."""

    def test_an_appended_event_comes_back_as_it_was(self, store: RunStore) -> None:
        events = [
            Event(
                kind=EventKind.RUN_STARTED,
                attempt=1,
                at=1.1,
                seq=1,
                data={"mode": "run", "big": -(2**70), "text": "naïve ☃ \0", "deep": [{"a": None}]},
            ),
            Event(
                kind=EventKind.STEP_DONE,
                attempt=2,
                at=1_763_900_000.123456,
                seq=2,
                case_index=0,
                address=StepAddress(Stage.JUDGE, 3, "builtin/rubric", "call-\0-1"),
                candidate_id="ü/3",
                key=key("a"),
                artifact=artifact("a", {"n": 2**80}, code="v1"),
                data={"ms": 12.5, "tries": 2},
            ),
            Event(
                kind=EventKind.STEP_FAILED,
                attempt=2,
                at=3.0,
                seq=3,
                case_index=1,
                address=StepAddress(Stage.SCORE, component="m"),
                key=key("never made"),
                data={"failure": {"kind": "timeout"}},
            ),
            Event(kind=EventKind.CASE_FINISHED, attempt=2, at=4.0, seq=4, case_index=1),
            Event(kind=EventKind.NOTE, attempt=2, at=5.0, seq=5, candidate_id="c", reused=True),
            Event(kind=EventKind.RUN_FINISHED, attempt=2, at=6.0, seq=6),
        ]
        assert list(store.append(RUN, events, epoch=0)) == []
        assert [facts(event) for event in store.events(RUN)] == [facts(event) for event in events]

    def test_every_stage_and_kind_comes_back(self, store: RunStore) -> None:
        events = [
            Event(kind=kind, attempt=1, at=0.0, seq=0, address=StepAddress(stage), case_index=7)
            for kind in EventKind
            for stage in Stage
        ]
        for seq, event in enumerate(events, start=1):
            event.seq = seq
        store.append(RUN, events, epoch=0)
        assert [(e.kind, e.address) for e in store.events(RUN)] == [
            (e.kind, e.address) for e in events
        ]

    def test_appending_nothing_does_nothing(self, store: RunStore) -> None:
        assert list(store.append(RUN, [], epoch=0)) == []
        assert list(store.events(RUN)) == []

    def test_an_appended_batch_is_all_there_or_not_at_all(self, store: RunStore) -> None:
        store.append(RUN, [note(3)], epoch=0)
        with pytest.raises(JournalConflictError):
            store.append(RUN, [note(1), done(2, artifact("a", "x" * 100_000)), note(3)], epoch=0)
        assert [event.seq for event in store.events(RUN)] == [3]
        assert not store.lookup([key("a")])
        store.append(RUN, [note(1), done(2, artifact("a"))], epoch=0)
        assert [event.seq for event in store.events(RUN)] == [1, 2, 3]

    def test_a_number_twice_in_one_batch_is_refused(self, store: RunStore) -> None:
        with pytest.raises(JournalConflictError):
            store.append(RUN, [note(1), note(1)], epoch=0)
        assert list(store.events(RUN)) == []

    def test_data_that_is_not_json_appends_nothing(self, store: RunStore) -> None:
        bad = note(2)
        bad.data = {"text": object()}
        with pytest.raises(TypeError):
            store.append(RUN, [note(1), bad], epoch=0)
        assert list(store.events(RUN)) == []

    def test_runs_number_their_events_by_themselves(self, store: RunStore) -> None:
        store.append(RUN, [note(1, "one")], epoch=0)
        store.append(OTHER_RUN, [note(1, "other")], epoch=0)
        assert [event.data["text"] for event in store.events(RUN)] == ["one"]

    def test_changing_an_event_after_its_append_changes_nothing_kept(self, store: RunStore) -> None:
        event = done(1, artifact("a"))
        store.append(RUN, [event], epoch=0)
        event.data["ms"] = 99
        assert event.artifact is not None
        event.artifact.raw = b"{}"
        (kept,) = store.events(RUN)
        assert kept.data == {"ms": 1.5}
        assert _payloads(store) == ["answer"]

    def test_a_new_key_is_kept_as_version_0_with_its_run(self, store: RunStore) -> None:
        event = done(1, artifact("a"))
        event.version = 5
        assert list(store.append(RUN, [event], epoch=0)) == []
        assert event.version == 0
        found = store.lookup([key("a")])[key("a")]
        assert artifact_facts(found) == (
            key("a"),
            artifact("a").raw,
            None,
            1_700_000_000.25,
            0,
            RUN,
        )
        assert found.supersedes is False

    def test_of_two_equal_artifacts_the_first_is_kept_and_none_lost(self, store: RunStore) -> None:
        store.append(RUN, [done(1, artifact("a"))], epoch=0)
        again = done(1, artifact("a"))
        assert list(store.append(OTHER_RUN, [again], epoch=0)) == []
        assert again.version == 0
        (event,) = store.events(OTHER_RUN)
        assert event.artifact is not None
        assert event.artifact.run_id == RUN

    def test_of_two_different_artifacts_the_first_wins_and_the_loser_is_told(
        self, store: RunStore
    ) -> None:
        store.append(RUN, [done(1, artifact("a", "first"))], epoch=0)
        events = [done(1, artifact("b")), done(2, artifact("a", "second"))]
        assert list(store.append(OTHER_RUN, events, epoch=0)) == [key("a")]
        assert [event.version for event in events] == [0, 0]
        assert _payloads(store, OTHER_RUN) == ["answer", "first"]
        assert store.lookup([key("a")])[key("a")].payload == {"value": "first"}

    def test_the_first_wins_within_a_batch_too(self, store: RunStore) -> None:
        batch = [
            done(1, artifact("a", "first")),
            done(2, artifact("a", "second")),
            done(3, artifact("a", "first")),
        ]
        assert list(store.append(RUN, batch, epoch=0)) == [key("a")]
        assert _payloads(store) == ["first"] * 3

    def test_large_payloads_compete_like_small_ones(self, store: RunStore) -> None:
        big, other = "x" * 200_000, "y" * 200_000
        store.append(RUN, [done(1, artifact("a", big))], epoch=0)
        assert list(store.append(RUN, [done(2, artifact("a", big))], epoch=0)) == []
        assert list(store.append(RUN, [done(3, artifact("a", other))], epoch=0)) == [key("a")]
        assert _payloads(store) == [big] * 3

    def test_a_superseding_artifact_is_the_next_version(self, store: RunStore) -> None:
        events = [
            done(1, artifact("a", "first")),
            done(2, artifact("a", "second", supersedes=True)),
            done(3, artifact("a", "second", supersedes=True)),
            done(4, artifact("new", supersedes=True)),
        ]
        for event in events:
            assert list(store.append(RUN, [event], epoch=0)) == []
        assert [event.version for event in events] == [0, 1, 2, 0]
        assert _payloads(store) == ["first", "second", "second", "answer"]
        assert [event.version for event in store.events(RUN)] == [0, 1, 2, 0]
        assert store.lookup([key("a")])[key("a")].version == 2

    def test_versions_count_up_within_a_batch_too(self, store: RunStore) -> None:
        batch = [
            done(1, artifact("a", "first")),
            done(2, artifact("a", "second", supersedes=True)),
            done(3, artifact("a", "third")),
            done(4, artifact("a", "fourth", code="changed")),
        ]
        assert list(store.append(RUN, batch, epoch=0)) == [key("a")]
        assert [event.version for event in batch] == [0, 1, 1, 2]
        assert _payloads(store) == ["first", "second", "second", "fourth"]

    def test_after_a_superseding_one_the_latest_stands(self, store: RunStore) -> None:
        store.append(RUN, [done(1, artifact("a", "first"))], epoch=0)
        store.append(RUN, [done(2, artifact("a", "second", supersedes=True))], epoch=0)
        late = done(3, artifact("a", "first"))
        assert list(store.append(RUN, [late], epoch=0)) == [key("a")]
        assert late.version == 1

    @pytest.mark.parametrize(("old", "new"), [("one", "two"), (None, "two"), ("one", None)])
    def test_an_artifact_of_other_code_is_the_next_version(
        self, store: RunStore, old: str | None, new: str | None
    ) -> None:
        store.append(RUN, [done(1, artifact("a", "first", code=old))], epoch=0)
        event = done(2, artifact("a", "second", code=new))
        assert list(store.append(RUN, [event], epoch=0)) == []
        assert event.version == 1
        found = store.lookup([key("a")])[key("a")]
        assert found.payload == {"value": "second"}
        assert found.code == artifact("a", code=new).code

    def test_an_artifact_of_the_same_code_is_the_same_version(self, store: RunStore) -> None:
        store.append(RUN, [done(1, artifact("a", "first", code="one"))], epoch=0)
        event = done(2, artifact("a", "second", code="one"))
        assert list(store.append(RUN, [event], epoch=0)) == [key("a")]
        assert event.version == 0

    def test_an_event_refers_to_the_version_it_names(self, store: RunStore) -> None:
        store.append(RUN, [done(1, artifact("a", "first"))], epoch=0)
        store.append(RUN, [done(2, artifact("a", "second", supersedes=True))], epoch=0)
        batch = [reused(1, "a", version=0), reused(2, "a", version=1)]
        store.append(OTHER_RUN, batch, epoch=0)
        assert _payloads(store, OTHER_RUN) == ["first", "second"]
        assert all(event.reused for event in store.events(OTHER_RUN))

    def test_a_failed_step_never_shows_the_artifact_of_its_key(self, store: RunStore) -> None:
        failed = reused(1, "a")
        failed.kind, failed.reused = EventKind.STEP_FAILED, False
        store.append(RUN, [failed], epoch=0)
        store.append(OTHER_RUN, [done(1, artifact("a"))], epoch=0)
        (event,) = store.events(RUN)
        assert event.key == key("a")
        assert event.artifact is None

    def test_events_come_in_order_of_their_numbers(self, store: RunStore) -> None:
        store.append(RUN, [note(3), note(1)], epoch=0)
        store.append(RUN, [note(2)], epoch=0)
        assert [event.seq for event in store.events(RUN)] == [1, 2, 3]

    def test_events_stream_from_a_number_and_by_kind(self, store: RunStore) -> None:
        store.append(RUN, [note(n) for n in range(1, 2001)], epoch=0)
        store.append(RUN, [done(2001, artifact("a")), note(2002)], epoch=0)
        assert [event.seq for event in store.events(RUN)] == list(range(1, 2003))
        assert [event.seq for event in store.events(RUN, after=1999)] == [2000, 2001, 2002]
        assert list(store.events(RUN, after=2002)) == []
        found = store.events(RUN, kinds=[EventKind.STEP_DONE, EventKind.RUN_STARTED])
        assert [event.seq for event in found] == [2001]
        assert list(store.events(RUN, after=2001, kinds={EventKind.STEP_DONE})) == []
        assert list(store.events(RUN, kinds=())) == []

    def test_an_unknown_run_has_no_events(self, store: RunStore) -> None:
        assert list(store.events(OTHER_RUN)) == []
        assert list(store.case_events(OTHER_RUN, 0, 10)) == []

    def test_case_events_come_by_case_then_number(self, store: RunStore) -> None:
        order = [(1, 2), (2, 0), (3, 1), (4, 2), (5, 0), (6, 5)]
        store.append(
            RUN,
            [note(9), *(done(seq, artifact(f"{seq}"), case_index=case) for seq, case in order)],
            epoch=0,
        )
        found = [(event.case_index, event.seq) for event in store.case_events(RUN, 0, 3)]
        assert found == [(0, 2), (0, 5), (1, 3), (2, 1), (2, 4)]
        assert [event.seq for event in store.case_events(RUN, 2, 3)] == [1, 4]
        assert [event.seq for event in store.case_events(RUN, 3, 10**15)] == [6]
        assert list(store.case_events(RUN, 2, 2)) == []
        assert all(event.artifact is not None for event in store.case_events(RUN, 0, 9))

    def test_many_case_events_stream_whole(self, store: RunStore) -> None:
        events = [note(seq) for seq in range(1, 3001)]
        for event in events:
            event.case_index = event.seq % 3
        store.append(RUN, events, epoch=0)
        found = [(event.case_index, event.seq) for event in store.case_events(RUN, 0, 3)]
        assert found == sorted((seq % 3, seq) for seq in range(1, 3001))

    def test_lookup_returns_what_is_there(self, store: RunStore) -> None:
        names = [f"n{n}" for n in range(1300)]
        store.append(
            RUN, [done(n, artifact(name, n)) for n, name in enumerate(names, start=1)], epoch=0
        )
        wanted = {key(name) for name in [*names, "absent"]}
        found = store.lookup(wanted)
        assert set(found) == wanted - {key("absent")}
        assert found[key("n41")].payload == {"value": 42}
        assert not store.lookup([])

    @pytest.mark.parametrize("name", ["", "plain", "t1:short", "t1:" + "A" * 32, "ü\0" * 40])
    def test_a_key_of_any_form_comes_back(self, store: RunStore, name: Any) -> None:
        made = Artifact(key=name, raw=b"{}", at=0.0, code=name)
        store.append(RUN, [done(1, made)], epoch=0)
        assert store.lookup([name])[name].key == name
        assert store.lookup([name])[name].code == name
        (event,) = store.events(RUN)
        assert event.key == name

    @pytest.mark.parametrize(
        "payload",
        [2**100, "\0", "naïve ☃ 𝄞", "x" * 10_000_000, "", [], {"a": [1.5, None, True]}],
        ids=["big int", "NUL", "non-ASCII", "10 MB", "empty", "list", "nested"],
    )
    def test_a_payload_comes_back_as_it_was(self, store: RunStore, payload: Any) -> None:
        made = artifact("a", payload)
        store.append(RUN, [done(1, made)], epoch=0)
        found = store.lookup([key("a")])[key("a")]
        assert found.payload == {"value": payload}
        assert found.raw == artifact("a", payload).raw
        assert _payloads(store) == [payload]

    def test_several_large_payloads_stream(self, store: RunStore) -> None:
        texts = [str(n) * 3_000_000 for n in range(4)]
        store.append(
            RUN, [done(n + 1, artifact(f"{n}", text)) for n, text in enumerate(texts)], epoch=0
        )
        assert _payloads(store) == texts

    def test_events_are_read_while_another_thread_appends(self, store: RunStore) -> None:
        store.append(RUN, [note(n) for n in range(1, 1201)], epoch=0)
        reading = store.events(RUN)
        by_case = store.case_events(RUN, 0, 10)
        seen = [next(reading).seq]
        failures: list[BaseException] = []

        def write() -> None:
            try:
                for n in range(1201, 1301):
                    store.append(RUN, [done(n, artifact(f"{n}"))], epoch=0)
            except BaseException as error:  # noqa: BLE001 - shown by the test
                failures.append(error)

        writer = threading.Thread(target=write)
        writer.start()  # a reader that held its transaction or the lock would stop it here
        writer.join(timeout=60)
        assert not writer.is_alive()
        assert not failures
        seen += [event.seq for event in reading]
        assert seen == list(range(1, 1301))
        assert len(list(by_case)) == 100

    def test_threads_append_side_by_side(self, store: RunStore) -> None:
        def write(start: int) -> None:
            for n in range(start, 200, 4):
                store.append(RUN, [done(n + 1, artifact(f"{n % 10}"))], epoch=0)

        threads = [threading.Thread(target=write, args=(start,)) for start in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [event.seq for event in store.events(RUN)] == list(range(1, 201))
        assert len(store.lookup([key(f"{n}") for n in range(10)])) == 10
