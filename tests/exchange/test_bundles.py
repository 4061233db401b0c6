"""Bundles: what leaves a store comes back the same, twice if need be, and never changed unseen.

Covers: themis.exchange, themis.exchange.bundle, themis.exchange.bundles, themis.planning.datasets,
themis.planning.keys
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from themis import Experiment, InMemoryRunStore, SqliteRunStore, quickcheck, use
from themis.core.base import RunId
from themis.core.config import EvaluationConfig, GenerationConfig, StorageConfig
from themis.core.errors import DefinitionError, RunNotFoundError, StoreUnavailableError
from themis.core.events import Artifact, EventKind
from themis.core.models import Case, Dataset, GenerationResult
from themis.core.store import Owner
from themis.exchange.bundles import (
    Bundle,
    export_evaluation_bundle,
    export_generation_bundle,
    import_evaluation_bundle,
    import_generation_bundle,
)
from themis.experiment.result import RunResult
from themis.planning.datasets import stored_case
from themis.planning.keys import CaseDigests

JUDGED = use("builtin/llm_rubric", rubric="Is it right?", name="right")


class Counting:
    """Answers the number of its call, and fails for some cases."""

    component_id = "generator/counting"
    version = "1"

    def __init__(self, failing: frozenset[str] = frozenset()) -> None:
        self.calls = 0
        self.failing = failing

    def fingerprint(self) -> str:
        return "counting"

    async def generate(self, case: Case, ctx: object) -> GenerationResult:
        self.calls += 1
        if case.case_id in self.failing:
            raise ValueError("out of order")
        return GenerationResult(candidate_id="c", final_output=str(self.calls))


def experiment(
    generator: Any = "builtin/demo_generator",
    metrics: Any = ("builtin/exact_match", JUDGED),
    **more: Any,
) -> Experiment:
    cases = [
        Case(case_id=f"case-{n}", input=f"question {n}", expected_output=str(n), metadata={"n": n})
        for n in range(7)
    ]
    return Experiment(
        generation=GenerationConfig(generator=generator, candidate_policy={"num_samples": 2}),
        evaluation=EvaluationConfig(
            metrics=list(metrics), judge_models=["builtin/demo_judge"], **more
        ),
        storage=StorageConfig(store="memory"),
        datasets=[
            Dataset(dataset_id="first", cases=cases, metadata={"source": "here"}),
            Dataset(dataset_id="second", cases=cases[:3], revision="2"),
        ],
    )


@pytest.fixture
def source() -> InMemoryRunStore:
    return fresh()


def fresh() -> InMemoryRunStore:
    store = InMemoryRunStore()
    store.initialize()
    return store


def rows(store: Any, run_id: str) -> list[Any]:
    return list(RunResult(store, store.load_snapshot(run_id)).score_rows())


def changed(bundle: Bundle, number: int, old: str, new: str) -> Bundle:
    lines = bundle.data.decode().splitlines(keepends=True)
    assert old in lines[number]
    lines[number] = lines[number].replace(old, new)
    return Bundle.read("".join(lines))


def test_an_imported_evaluation_reports_the_same_numbers(
    source: InMemoryRunStore, tmp_path: Path
) -> None:
    result = experiment(use("builtin/demo_generator", accuracy=0.5)).run(store=source)
    path = export_evaluation_bundle(source, result.run_id).save(tmp_path / "run.jsonl")
    target = SqliteRunStore(tmp_path / "target.db")

    assert import_evaluation_bundle(target, Bundle.load(path)) == result.run_id

    assert rows(target, result.run_id) == rows(source, result.run_id)
    assert quickcheck(target, result.run_id) == quickcheck(source, result.run_id)
    state = RunResult(target, target.load_snapshot(result.run_id)).state
    assert [attempt["mode"] for attempt in state.attempts] == ["import"]
    assert list(RunResult(target, result.snapshot).cases) == list(result.cases)


def test_an_imported_evaluation_leaves_nothing_to_run(source: InMemoryRunStore) -> None:
    result = experiment(Counting()).run(store=source)
    target = fresh()
    import_evaluation_bundle(target, export_evaluation_bundle(source, result.run_id))
    idle = Counting()

    again = experiment(idle).run(store=target)

    assert idle.calls == 0
    assert rows(target, again.run_id) == rows(source, result.run_id)


def test_failures_are_carried_over_and_tried_again(source: InMemoryRunStore) -> None:
    broken = experiment(Counting(failing=frozenset({"case-5"}))).run(store=source)
    assert broken.status == "partial_failure"
    target = fresh()
    import_evaluation_bundle(target, export_evaluation_bundle(source, broken.run_id))
    assert quickcheck(target, broken.run_id) == quickcheck(source, broken.run_id)

    mended = Counting()
    healed = experiment(mended).run(store=target)

    assert healed.status == "completed"
    assert mended.calls == 2


def test_imported_generations_are_reused_by_the_same_run(source: InMemoryRunStore) -> None:
    result = experiment(Counting()).run(store=source)
    target = fresh()
    import_generation_bundle(target, export_generation_bundle(source, result.run_id))
    state = RunResult(target, target.load_snapshot(result.run_id)).state
    assert state.completed_through_stage == "generate"
    idle = Counting()

    experiment(idle).run(store=target)

    assert idle.calls == 0
    assert rows(target, result.run_id) == rows(source, result.run_id)


def test_imported_generations_are_reused_by_another_run(source: InMemoryRunStore) -> None:
    result = experiment().run(store=source)
    target = fresh()
    import_generation_bundle(target, export_generation_bundle(source, result.run_id))

    other = experiment(metrics=["builtin/exact_match"]).run(store=target)

    assert other.run_id != result.run_id
    assert other.progress.stages["generate"].reused == 20


def test_a_generation_bundle_of_a_broken_run_holds_what_was_generated(
    source: InMemoryRunStore,
) -> None:
    result = experiment(Counting(failing=frozenset({"case-5"}))).run(store=source)
    bundle = export_generation_bundle(source, result.run_id)
    assert bundle.manifest["status"] == "partial_failure"
    assert bundle.manifest["counts"] == {"cases": 10, "steps": 20}
    target = fresh()
    import_generation_bundle(target, bundle)
    rest = Counting()

    experiment(rest).run(store=target)

    assert rest.calls == 2


def test_a_run_that_has_not_begun_has_nothing_to_export(source: InMemoryRunStore) -> None:
    source.save_snapshot(experiment().compile())
    with pytest.raises(DefinitionError, match="has not begun"):
        export_evaluation_bundle(source, experiment().compile().run_id)


@pytest.mark.parametrize("export", [export_generation_bundle, export_evaluation_bundle])
def test_a_run_that_was_cut_short_is_gone_on_with_elsewhere(
    source: InMemoryRunStore, export: Any
) -> None:
    result = experiment(Counting()).run(store=source)
    cut = fresh()
    cut.save_snapshot(result.snapshot)
    for ref in result.snapshot.identity.datasets:
        for position, case in source.cases(ref.fingerprint, 0, 2):
            cut.save_cases(ref.fingerprint, position, [stored_case(case, CaseDigests(case))])
    events = [one for one in source.events(result.run_id) if (one.case_index or 0) < 2][:-1]
    for seq, event in enumerate(events, start=1):
        event.seq = seq
    cut.append(result.run_id, events, epoch=0)
    bundle = export(cut, result.run_id)
    assert bundle.manifest["status"] == "interrupted"
    assert bundle.manifest["counts"]["cases"] == 4
    target = fresh()
    (import_generation_bundle if bundle.kind == "generation" else import_evaluation_bundle)(
        target, bundle
    )
    rest = Counting()

    done = experiment(rest).run(store=target)

    assert done.status == "completed"
    # Five of the first dataset's cases; the second's last one is among them, perhaps in flight.
    assert rest.calls in (10, 12)
    assert RunResult(target, result.snapshot).progress.cases_finished == 10


def test_importing_twice_changes_nothing(source: InMemoryRunStore) -> None:
    result = experiment().run(store=source)
    bundle = export_evaluation_bundle(source, result.run_id)
    target = fresh()
    import_evaluation_bundle(target, bundle)
    before = len(list(target.events(result.run_id)))

    import_evaluation_bundle(target, bundle)
    import_generation_bundle(target, export_generation_bundle(source, result.run_id))

    assert len(list(target.events(result.run_id))) == before


def test_the_bundle_of_an_import_is_the_bundle_imported(source: InMemoryRunStore) -> None:
    result = experiment().run(store=source)
    bundle = export_evaluation_bundle(source, result.run_id)
    target = fresh()
    import_evaluation_bundle(target, bundle)

    again = export_evaluation_bundle(target, result.run_id)

    assert again.manifest["counts"] == bundle.manifest["counts"]
    records = [list(one.records()) for one in (bundle, again)]
    assert records[0] == records[1]


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        ("case", '"expected_output":"3"', '"expected_output":"4"'),
        ("generate", '"final_output":"', '"final_output":"not '),
        ("score", '"value":', '"value":1'),
    ],
)
def test_a_tampered_record_is_refused_by_name_and_nothing_is_written(
    source: InMemoryRunStore, kind: str, old: str, new: str
) -> None:
    result = experiment(use("builtin/demo_generator", accuracy=0.5)).run(store=source)
    bundle = export_evaluation_bundle(source, result.run_id)
    lines = bundle.data.decode().splitlines()
    number = next(n for n, line in enumerate(lines) if f'"{kind}"' in line and old in line and n)
    target = fresh()

    with pytest.raises(DefinitionError, match=rf"line {number + 1} \(.*{kind}.*'case-") as caught:
        import_evaluation_bundle(target, changed(bundle, number, old, new))

    assert "\n" not in str(caught.value)
    assert list(target.runs()) == []


def test_a_missing_record_is_noticed(source: InMemoryRunStore) -> None:
    result = experiment().run(store=source)
    bundle = export_evaluation_bundle(source, result.run_id)
    lines = bundle.data.splitlines(keepends=True)
    cut = Bundle.read(b"".join(lines[:-1]))
    with pytest.raises(DefinitionError, match="added, removed or moved"):
        import_evaluation_bundle(fresh(), cut)


def test_cases_with_new_hashes_still_must_be_those_of_the_snapshot(
    source: InMemoryRunStore,
) -> None:
    result = experiment().run(store=source)
    bundle = export_evaluation_bundle(source, result.run_id)
    records = list(bundle.records())
    records[2]["expected_output"] = "another"
    with pytest.raises(DefinitionError, match="not those of dataset 'first'"):
        import_evaluation_bundle(fresh(), Bundle.of(bundle.manifest, records))


def test_a_snapshot_that_is_not_the_runs_is_refused(source: InMemoryRunStore) -> None:
    result = experiment().run(store=source)
    bundle = export_evaluation_bundle(source, result.run_id)
    manifest = json.loads(json.dumps(bundle.manifest))
    manifest["snapshot"]["identity"]["num_samples"] = 3
    with pytest.raises(DefinitionError, match="its snapshot is that of run"):
        import_evaluation_bundle(fresh(), Bundle.of(manifest, bundle.records()))


def test_another_answer_under_the_same_key_is_never_mixed_in(source: InMemoryRunStore) -> None:
    result = experiment(Counting(), metrics=[]).run(store=source)
    target = fresh()
    other = Counting()
    other.calls = 100
    experiment(other, metrics=[]).run(store=target)
    before = len(list(target.events(result.run_id)))

    with pytest.raises(DefinitionError, match="another generate result for case 'case-"):
        import_generation_bundle(target, export_generation_bundle(source, result.run_id))

    assert len(list(target.events(result.run_id))) == before


def test_two_versions_of_one_key_keep_apart(source: InMemoryRunStore) -> None:
    result = experiment(metrics=["builtin/exact_match"]).run(store=source)
    bundle = export_evaluation_bundle(source, result.run_id)
    records = list(bundle.records())
    scores = [record for record in records if record.get("stage") == "score"]
    scores[1]["key"] = scores[0]["key"]
    scores[1]["payload"] = {**scores[0]["payload"], "value": 0.0}
    twisted = Bundle.of(bundle.manifest, records)
    target = fresh()

    import_evaluation_bundle(target, twisted)

    values = [row.value for row in rows(target, result.run_id)]
    assert values[:2] == [1.0, 0.0]


def test_two_halves_of_a_run_make_a_whole(source: InMemoryRunStore) -> None:
    early = frozenset({"case-0", "case-1", "case-2"})
    late = frozenset({"case-3", "case-4", "case-5", "case-6"})
    result = experiment(Counting(failing=early)).run(store=source)
    target = fresh()
    experiment(Counting(failing=late)).run(store=target)
    import_generation_bundle(target, export_generation_bundle(source, result.run_id))
    idle = Counting()

    done = experiment(idle).run(store=target)

    assert done.status == "completed"
    assert idle.calls == 0


def test_integers_of_any_size_travel(source: InMemoryRunStore) -> None:
    result = experiment(metrics=[]).run(store=source)
    bundle = export_generation_bundle(source, result.run_id)
    records = list(bundle.records())
    step = next(record for record in records if record["record"] == "step")
    step["payload"]["final_output"] = 2**70
    target = fresh()

    import_generation_bundle(target, Bundle.read(Bundle.of(bundle.manifest, records).data))

    made = [
        event.artifact
        for event in target.events(result.run_id)
        if event.kind is EventKind.STEP_DONE and event.artifact is not None
    ]
    assert any(isinstance(one, Artifact) and one.payload["final_output"] == 2**70 for one in made)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("", "not a record"),
        ("hello\n", "not a record"),
        ('{"a": 1}\n', "not a record"),
        (b"\xff\xfe", "not a record"),
    ],
)
def test_what_is_no_bundle_is_refused(data: str | bytes, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        Bundle.read(data)


def test_another_format_is_refused(source: InMemoryRunStore) -> None:
    result = experiment(metrics=[]).run(store=source)
    bundle = export_generation_bundle(source, result.run_id)
    later = Bundle.of({**bundle.manifest, "format": "themis-bundle/2"}, [])
    with pytest.raises(DefinitionError, match="themis-bundle/2"):
        Bundle.read(later.data)


def test_kinds_are_not_confused(source: InMemoryRunStore) -> None:
    result = experiment(metrics=[]).run(store=source)
    bundle = export_generation_bundle(source, result.run_id)
    with pytest.raises(DefinitionError, match="of kind 'generation', not 'evaluation'"):
        import_evaluation_bundle(fresh(), bundle)


def test_an_unknown_run_and_a_missing_file_are_said_plainly(
    source: InMemoryRunStore, tmp_path: Path
) -> None:
    with pytest.raises(RunNotFoundError):
        export_generation_bundle(source, "no-such-run")
    with pytest.raises(DefinitionError, match="No such file"):
        Bundle.load(tmp_path / "none.jsonl")


def test_the_bundle_of_an_attempt_is_the_run_as_that_attempt_left_it(
    source: InMemoryRunStore,
) -> None:
    one = experiment(Counting(), metrics=["builtin/exact_match"])
    first = one.run(store=source)
    rerun = one.runtime.model_copy(update={"existing_run_policy": "rerun"})
    one.run(store=source, runtime=rerun)
    for name in (f"{first.run_id}@1", f"{first.run_id}@2"):
        target = fresh()
        run_id = import_evaluation_bundle(target, export_evaluation_bundle(source, name))
        assert run_id == first.run_id
        imported = RunResult.of(target, run_id)
        told = RunResult.of(source, name)
        assert list(imported.score_rows()) == list(told.score_rows())
        outputs = [case.generated_candidates[0].final_output for case in imported.cases]
        assert outputs == [case.generated_candidates[0].final_output for case in told.cases]
    with pytest.raises(DefinitionError, match="has no attempt 3; it has 1"):
        export_generation_bundle(source, f"{first.run_id}@3")


class Refusing(InMemoryRunStore):
    """A store that is full."""

    def append(self, run_id: Any, events: Any, *, epoch: int) -> Any:
        raise StoreUnavailableError("no space left")


@pytest.mark.parametrize("is_full", [False, True])
def test_an_import_gives_its_run_back_however_it_ends(
    source: InMemoryRunStore, is_full: bool
) -> None:
    bundle = export_evaluation_bundle(source, experiment().run(store=source).run_id)
    target = Refusing() if is_full else fresh()
    if is_full:
        with pytest.raises(StoreUnavailableError):
            import_evaluation_bundle(target, bundle)
    else:
        import_evaluation_bundle(target, bundle)
    elsewhere = Owner(host="elsewhere", boot_id="b", pid=1, process_start="1")
    assert target.lease(RunId(bundle.run_id), elsewhere, 30.0).owner == elsewhere
