"""A bundle of each stage carries the run up to that stage, unchanged and a line at a time.

Covers: themis.exchange.bundle, themis.exchange.incoming, themis.exchange.outgoing,
themis.exchange.records, themis.views.headline
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import themis
from tests.support.runs import experiment
from themis import Experiment, InMemoryRunStore, RunResult, sqlite_store, use
from themis.core.errors import DefinitionError, ParseError
from themis.core.events import Stage
from themis.core.store import RunStore
from themis.exchange.bundle import KINDS, Bundle
from themis.exchange.incoming import bring_in
from themis.exchange.outgoing import export
from themis.exchange.records import LAST_STAGE, BundleKind
from themis.testing.scripted import (
    CountingMetric,
    CountingParser,
    ScriptedGenerator,
    ScriptedJudge,
)
from themis.views.headline import read_standing

RUBRIC = use("builtin/llm_rubric", rubric="Is it right?", name="rubric")


@pytest.fixture(params=["memory", "sqlite"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], RunStore]]:
    """Makes stores of one kind."""
    made: list[RunStore] = []

    def make() -> RunStore:
        is_memory = request.param == "memory"
        file = tmp_path / f"{len(made)}.db"
        store: RunStore = InMemoryRunStore() if is_memory else sqlite_store(file)
        store.initialize()
        made.append(store)
        return store

    yield make
    for store in made:
        store.close()


def _even_only(output: Any) -> Any:
    if output % 2:
        raise ParseError("odd")
    return output


class _Parts:
    """An experiment with every stage, and its counting parts."""

    def __init__(self, *, judged: bool = True, reduced: bool = True, until: str = "judge") -> None:
        self.generator = ScriptedGenerator()
        self.parser = CountingParser(_even_only, fingerprint="even")
        self.metric = CountingMetric()
        self.judge = ScriptedJudge()
        self.until = until
        self.experiment: Experiment = experiment(
            self.generator,
            cases=6,
            samples=2,
            parser=self.parser,
            metrics=[self.metric, *([RUBRIC] if judged else [])],
            judges=[self.judge] if judged else [],
            reducer="builtin/majority_vote" if reduced else None,
        )

    def run(self, store: RunStore) -> RunResult:
        return self.experiment.run(store=store, until_stage=self.until)

    def counts(self) -> dict[str, int]:
        return {
            "generation": self.generator.count(),
            "parse": len(self.parser.calls),
            "score": len(self.metric.calls),
            "evaluation": self.judge.count(),
        }


def _told(store: RunStore, run_id: str) -> Any:
    """All that a store says of a run: its headline, its score table, and its cases."""
    result = RunResult.of(store, run_id)
    standing = read_standing(store, result.snapshot)
    headline = standing.headline.model_dump(exclude={"timeline"})
    return headline, result.status, list(result.score_rows()), list(result.cases)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_through_a_stage_reports_the_same_from_its_bundle_of_that_stage(
    stores: Callable[[], RunStore], kind: BundleKind
) -> None:
    source = stores()
    parts = _Parts(until=LAST_STAGE[kind].value)
    parts.generator.failures = {"c5": ValueError("out of order")}
    run_id = parts.run(source).run_id
    for target in (stores(), InMemoryRunStore()):
        target.initialize()
        assert bring_in(target, export(source, run_id, kind), kind) == run_id
        assert _told(target, run_id) == _told(source, run_id)
        back = stores()
        bring_in(back, export(target, run_id, kind), kind)
        assert _told(back, run_id) == _told(source, run_id)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reduced", [True, False])
def test_what_a_bundle_brings_is_not_done_again_and_what_is_below_it_is(
    stores: Callable[[], RunStore], kind: BundleKind, reduced: bool
) -> None:
    source, target = stores(), stores()
    first = _Parts(reduced=reduced).run(source)
    bring_in(target, export(source, first.run_id, kind), kind)
    parts = _Parts(reduced=reduced)

    again = parts.run(target)

    assert _told(target, again.run_id)[1:] == _told(source, first.run_id)[1:]
    counts = parts.counts()
    assert counts["generation"] == 0
    assert (counts["parse"] > 0) == (kind in ("generation", "reduction"))
    assert (counts["score"] > 0) == (kind in ("generation", "reduction", "parse"))
    assert (counts["evaluation"] > 0) == (kind != "evaluation")
    if reduced and kind == "reduction":  # what the reducer read of the samples came along
        assert counts["parse"] == 6


@pytest.mark.parametrize("kind", KINDS)
def test_a_bundle_holds_no_step_below_its_stage(kind: BundleKind) -> None:
    store = InMemoryRunStore()
    run_id = _Parts(reduced=False).run(store).run_id
    records = list(export(store, run_id, kind).records())
    stages = {record["stage"] for record in records if record["record"] == "step"}
    below = {stage.value for stage in Stage if stage.order > LAST_STAGE[kind].order}
    assert stages
    assert not stages & below
    ends = {record["data"]["through"] for record in records if record["record"] == "finished"}
    assert ends == {LAST_STAGE[kind].value}


@pytest.mark.parametrize("kind", KINDS)
def test_a_bundle_that_comes_twice_changes_nothing(
    stores: Callable[[], RunStore], kind: BundleKind
) -> None:
    source, target = stores(), stores()
    run_id = _Parts().run(source).run_id
    bundle = export(source, run_id, kind)
    bring_in(target, bundle, kind)
    before = [event.seq for event in target.events(run_id)]
    bring_in(target, bundle, kind)
    for other in KINDS[: KINDS.index(kind)]:  # nor do those of the stages above
        bring_in(target, export(source, run_id, other), other)
    assert [event.seq for event in target.events(run_id)] == before


@pytest.mark.parametrize("kind", KINDS)
def test_the_bundle_of_an_attempt_is_of_that_attempt(kind: BundleKind) -> None:
    store, target = InMemoryRunStore(), InMemoryRunStore()
    target.initialize()
    parts = _Parts(reduced=False)
    run_id = parts.run(store).run_id
    parts.generator.answers = lambda case, ctx: 2 * case.input + 2
    parts.experiment.replay(stage="generate", store=store)
    bring_in(target, export(store, f"{run_id}@1", kind), kind)
    outputs = [
        case.generated_candidates[0].final_output for case in RunResult.of(target, run_id).cases
    ]
    assert outputs == [0, 1, 2, 3, 4, 5]


def test_every_kind_is_at_the_root_and_refuses_the_others(tmp_path: Path) -> None:
    store = InMemoryRunStore()
    run_id = _Parts().run(store).run_id
    for kind in KINDS:
        path = getattr(themis, f"export_{kind}_bundle")(store, run_id).save(tmp_path / kind)
        bundle = Bundle.load(path)
        target = InMemoryRunStore()
        target.initialize()
        assert getattr(themis, f"import_{kind}_bundle")(target, bundle) == run_id
        for other in KINDS:
            if other != kind:
                with pytest.raises(DefinitionError, match=f"of kind '{kind}', not '{other}'"):
                    getattr(themis, f"import_{other}_bundle")(target, bundle)


SMALL = InMemoryRunStore()
SMALL_RUN = experiment(cases=2, metrics=["builtin/exact_match"]).run(store=SMALL).run_id
BUNDLES = {kind: export(SMALL, SMALL_RUN, kind).data for kind in KINDS}


@settings(max_examples=400, deadline=None)
@given(kind=st.sampled_from(KINDS), data=st.data())
def test_whatever_byte_is_changed_the_bundle_is_refused_and_nothing_is_written(
    kind: BundleKind, data: st.DataObject
) -> None:
    text = bytearray(BUNDLES[kind])
    place = data.draw(st.integers(0, len(text) - 1))
    text[place] ^= data.draw(st.integers(1, 255))
    target = InMemoryRunStore()
    with pytest.raises(DefinitionError, match="bundle") as caught:
        bring_in(target, Bundle.read(bytes(text)), kind)
    assert list(target.runs()) == []
    line = bytes(BUNDLES[kind][:place]).count(b"\n") + 1
    said = str(caught.value)
    # The line that was changed, or the two that were made one, or the whole that lost its end.
    assert "the manifest" in said if line == 1 else f"line {line}" in said


@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from(KINDS), data=st.data())
def test_lines_that_are_missing_moved_or_doubled_are_noticed(
    kind: BundleKind, data: st.DataObject
) -> None:
    lines = BUNDLES[kind].splitlines(keepends=True)
    place = data.draw(st.integers(1, len(lines) - 2))
    how = data.draw(st.sampled_from(["missing", "moved", "doubled", "cut"]))
    if how == "missing":
        del lines[place]
    elif how == "moved":
        lines[place], lines[place + 1] = lines[place + 1], lines[place]
    elif how == "doubled":
        lines.insert(place, lines[place])
    else:
        lines[-1] = lines[-1][:-1]
    with pytest.raises(DefinitionError, match=r"added, removed or moved|line \d+|place"):
        bring_in(InMemoryRunStore(), Bundle.read(b"".join(lines)), kind)


def test_a_case_that_says_it_stands_elsewhere_is_refused_though_the_hashes_are_right() -> None:
    bundle = Bundle.read(BUNDLES["evaluation"])
    records = list(bundle.records())
    for wrong in (7, -1, 0):
        records[1]["index"] = wrong
        twisted = Bundle.of(bundle.manifest, records)
        with pytest.raises(DefinitionError, match="case 'c1' stands at a place"):
            bring_in(InMemoryRunStore(), twisted, "evaluation")


def _peak_of_a_move(folder: Path, n_cases: int) -> int:
    """Return the most bytes held while a run of so many cases leaves a store and enters another."""
    folder.mkdir()
    source, target = sqlite_store(folder / "source.db"), sqlite_store(folder / "target.db")
    target.initialize()
    generator = ScriptedGenerator(lambda case, ctx: f"{case.case_id} {'x' * 8_000}")
    one = experiment(generator, cases=n_cases, metrics=["builtin/exact_match"])
    run_id = one.run(store=source).run_id
    tracemalloc.start()
    try:
        path = export(source, run_id, "evaluation").save(folder / "run.jsonl")
        bring_in(target, Bundle.load(path), "evaluation")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert path.stat().st_size > 8_000 * n_cases
    assert _told(target, run_id) == _told(source, run_id)
    source.close()
    target.close()
    return peak


def test_a_run_of_three_times_the_size_moves_in_the_same_memory(tmp_path: Path) -> None:
    small, large = (_peak_of_a_move(tmp_path / str(n), n) for n in (512, 1536))
    assert large < 1.3 * small


def test_a_bundle_whose_file_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(BUNDLES["score"])
    bundle = Bundle.load(path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    with pytest.raises(DefinitionError, match="added, removed or moved"):
        bring_in(InMemoryRunStore(), bundle, "score")
    path.unlink()
    with pytest.raises(DefinitionError, match=r"run\.jsonl': No such file"):
        bring_in(InMemoryRunStore(), bundle, "score")


def test_an_import_that_was_cut_off_is_ended_by_the_next_wherever_it_stopped() -> None:
    bundle = Bundle.read(BUNDLES["evaluation"])
    for appends in range(1, 50):
        store = InMemoryRunStore()
        append, left = store.append, iter(range(appends))

        def cut_off(*args: Any, append: Any = append, left: Any = left, **more: Any) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt
            append(*args, **more)

        store.append = cut_off  # type: ignore[method-assign]
        try:
            run_id = bring_in(store, bundle, "evaluation")
        except KeyboardInterrupt:
            store.append = append  # type: ignore[method-assign]
            run_id = bring_in(store, bundle, "evaluation")
        else:
            assert appends > 2
            break
        result = RunResult.of(store, run_id)
        assert result.status.value == bundle.manifest["status"]
        assert len(result.state.attempts) == 2
    else:
        raise AssertionError("it was always cut off")
