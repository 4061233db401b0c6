"""Outputs made elsewhere: a run's generations, that no generator was asked for and that say so.

Covers: themis.catalog.generators.output_rows, themis.catalog.generators.outputs,
themis.exchange.imported_outputs
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.runs import dataset, experiment
from themis import Reporter, RunResult, sqlite_store, use
from themis.core.config import StorageConfig
from themis.core.errors import DefinitionError
from themis.core.models import Case, Dataset
from themis.core.results import RunStatus
from themis.exchange.imported_outputs import import_outputs
from themis.testing.scripted import CountingParser, ScriptedGenerator, ScriptedJudge

ROWS: list[dict[str, Any]] = [
    {"case_id": "c0", "output": 0},
    {"case_id": "c1", "output": 7, "token_usage": {"prompt_tokens": 3, "completion_tokens": 1}},
    {
        "case_id": "c2",
        "output": 2,
        "latency_ms": 12.5,
        "trace": [{"step_name": "add", "step_type": "tool", "input": {"a": 2}}],
        "conversation": [{"role": "user", "content": "2?"}],
        "artifacts": {"model": "elsewhere-1"},
    },
]


def written(folder: Path, rows: list[Any], name: str = "outputs.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def test_outputs_are_parsed_scored_and_judged_and_no_generator_is_asked(tmp_path: Path) -> None:
    asked, judge, parser = ScriptedGenerator(), ScriptedJudge(), CountingParser()
    metrics = [
        "builtin/exact_match",
        use("builtin/trace/tool_called", name="added", tool="add"),
        use("builtin/llm_rubric", name="rubric", rubric="Is it right?"),
    ]
    one = experiment(asked, metrics=metrics, judges=[judge], parser=parser)

    done = import_outputs(one, written(tmp_path, ROWS))

    assert (done.n_outputs, done.n_missing) == (3, 0)
    assert done.result.state.completed_through_stage == "generate"
    assert parser.calls == []
    result = done.experiment.run()
    assert (asked.count(), judge.count(), len(parser.calls)) == (0, 3, 3)
    assert result.run_id == done.result.run_id
    assert result.metrics["builtin/exact_match"].mean == pytest.approx(2 / 3)
    assert result.metrics["added"].mean == 1  # of the one that has a trace
    assert result.metrics["added"].n_errors == 2
    third = result.cases[2].generated_candidates[0]
    assert third.latency_ms == 12.5
    assert third.conversation is not None
    assert result.cases[1].generated_candidates[0].token_usage == ROWS[1]["token_usage"]


def test_where_outputs_come_from_is_kept_and_told(tmp_path: Path) -> None:
    import hashlib

    path = written(tmp_path, ROWS)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    done = import_outputs(experiment(), path)
    result = done.experiment.run()
    identity = result.snapshot.identity
    assert identity.generator.component_id == "builtin/outputs"
    third = result.cases[2].generated_candidates[0].artifacts
    assert third == {
        "model": "elsewhere-1",
        "imported": {"file": "outputs.jsonl", "sha256": sha256, "line": 3},
    }
    settings = result.snapshot.provenance.settings["generator:builtin/outputs"]
    assert settings == {"file": "outputs.jsonl", "sha256": sha256, "outputs": 3}
    assert [note for note in result.notes if sha256 in note and "made elsewhere" in note]
    for form in ("markdown", "html"):
        shown = Reporter(done.experiment.store).render(result.run_id, format=form)
        assert "builtin/outputs" in shown
        assert sha256 in shown


def test_no_step_passes_for_the_work_of_the_generator_that_the_experiment_names(
    tmp_path: Path,
) -> None:
    asked = ScriptedGenerator()
    storage = StorageConfig(store="sqlite", parameters={"path": str(tmp_path / "runs.db")})
    one = experiment(asked, storage=storage)
    done = import_outputs(one, written(tmp_path, ROWS))
    plain = one.run()
    assert plain.run_id != done.result.run_id
    assert asked.count() == 3


def test_a_run_over_a_file_needs_no_import_and_is_the_same_wherever_the_file_is(
    tmp_path: Path,
) -> None:
    first = written(tmp_path, ROWS)
    second = written(tmp_path, ROWS, "copy.jsonl")
    ids = {
        experiment(use("builtin/outputs", path=str(path))).compile().run_id
        for path in (first, second)
    }
    assert ids == {import_outputs(experiment(), first).result.run_id}
    other = written(tmp_path, ROWS[:2], "other.jsonl")
    assert experiment(use("builtin/outputs", path=str(other))).compile().run_id not in ids


def test_rows_may_be_given_as_they_are() -> None:
    result = import_outputs(experiment(), ROWS).experiment.run()
    assert [row.value for row in result.score_rows()] == [1, 0, 1]


def test_samples_are_told_apart_and_missing_ones_are_failures_until_they_are_there(
    tmp_path: Path,
) -> None:
    rows = [
        {"case_id": f"c{case}", "sample": sample, "output": case}
        for case in range(3)
        for sample in range(2)
    ]
    one = experiment(samples=2, metrics=["builtin/exact_match"])
    done = import_outputs(one, written(tmp_path, rows[:-1]))
    assert (done.n_outputs, done.n_missing) == (5, 1)
    result = done.experiment.run()
    assert result.status == "partial_failure"
    summary = result.metrics["builtin/exact_match"]
    assert summary.n_errors == 1
    (failure,) = result.cases[2].generation_failures
    assert "no output for case 'c2', sample 1" in failure.message
    whole = import_outputs(one, written(tmp_path, rows)).experiment.run()
    assert whole.status == "completed"
    assert whole.metrics["builtin/exact_match"].mean == 1


def test_a_case_of_two_datasets_is_told_apart_by_the_dataset(tmp_path: Path) -> None:
    data = [
        Dataset(dataset_id=name, cases=[Case(case_id="1", input=name, expected_output=name)])
        for name in ("left", "right")
    ]
    rows = [{"case_id": 1, "dataset_id": name, "output": name} for name in ("left", "right")]
    result = import_outputs(experiment(cases=data), rows).experiment.run()
    assert [row.value for row in result.score_rows()] == [1, 1]
    with pytest.raises(DefinitionError, match="line 1: case '1' is in 2 datasets"):
        import_outputs(experiment(cases=data), [{"case_id": "1", "output": "left"}])
    with pytest.raises(DefinitionError, match="line 1: there is no dataset 'middle'"):
        import_outputs(experiment(cases=data), [{**rows[0], "dataset_id": "middle"}])


def test_a_case_that_two_datasets_hold_alike_cannot_be_answered_in_two_ways() -> None:
    data = [dataset(1, dataset_id=name) for name in ("left", "right")]
    rows = [{"case_id": "c0", "dataset_id": name, "output": name} for name in ("left", "right")]
    with pytest.raises(DefinitionError, match="line 2: case 'c0' is the same in two datasets"):
        import_outputs(experiment(cases=data), rows)
    same = [{**row, "output": 0} for row in rows]
    assert import_outputs(experiment(cases=data), same).n_outputs == 2


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"case_id": "c9", "output": 1}, "no dataset has a case 'c9'; did you mean"),
        ({"case_id": "c0", "output": 1}, "sample 0 was answered in line 1 already"),
        ({"case_id": "c1", "sample": 1, "output": 1}, "the experiment has 1"),
        ({"case_id": "c1"}, "'output' is missing; found: case_id"),
        ({"output": 1}, "'case_id' is missing"),
        ({"case_id": "c1", "ouput": 1}, "no key 'ouput'; did you mean 'output'"),
        ({"case_id": None, "output": 1}, "case_id is None"),
        ({"case_id": "c1", "output": 1, "sample": "0"}, "sample is '0'"),
        ({"case_id": "c1", "output": 1, "latency_ms": "fast"}, "latency_ms"),
        ({"case_id": "c1", "output": 1, "trace": [{"step": "a"}]}, "step"),
        ({"case_id": "c1", "output": 1, "latency_ms": -1}, "latency_ms is -1"),
        ({"case_id": "c1", "output": 1, "token_usage": {"prompt_tokens": -1}}, "prompt_tokens is"),
        ([1], "a JSON object is wanted"),
    ],
)
def test_a_row_that_cannot_be_meant_is_refused_by_its_line_and_no_store_is_made(
    tmp_path: Path, row: Any, said: str
) -> None:
    path = written(tmp_path, [{"case_id": "c0", "output": 0}, row])
    kept = tmp_path / "runs.db"
    storage = StorageConfig(store="sqlite", parameters={"path": str(kept)})
    with pytest.raises(DefinitionError, match=r"outputs\.jsonl line 2: ") as caught:
        import_outputs(experiment(storage=storage), path)
    assert said in str(caught.value)
    assert not kept.exists()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"case_id": "c0", "output": float("nan")}], "rows line 1.output is nan"),
        ([{"case_id": "c0", "output": object()}], "rows line 1.output is object"),
        ([{"case_id": "c0", "output": 0}, "c1"], "rows line 2: a mapping is wanted, not a str"),
        ({"case_id": "c0", "output": 0}, "outputs are dict: give"),
        (5, "outputs are int: give"),
        (None, "outputs are NoneType: give"),
    ],
)
def test_rows_that_cannot_be_meant_are_refused_as_those_of_a_file_are(rows: Any, said: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        import_outputs(experiment(), rows)
    assert said in str(caught.value)


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = written(tmp_path, ROWS)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    done = import_outputs(experiment(), path)
    assert done.n_outputs == len(ROWS)
    assert done.experiment.run().status is RunStatus.COMPLETED


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_a_file_without_outputs_and_no_file_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "outputs.jsonl"
    path.write_text(text)
    with pytest.raises(DefinitionError, match="holds no outputs"):
        import_outputs(experiment(), path)
    with pytest.raises(DefinitionError, match="No such file"):
        import_outputs(experiment(), tmp_path / "none.jsonl")
    with pytest.raises(DefinitionError, match="is a folder"):
        import_outputs(experiment(), tmp_path)
    with pytest.raises(DefinitionError, match="is no plain file"):
        import_outputs(experiment(), "/dev/null")


def test_a_file_that_changes_during_a_run_is_noticed(tmp_path: Path) -> None:
    path = written(tmp_path, ROWS)
    one = import_outputs(experiment(cases=3), path).experiment
    path.write_text(path.read_text().replace('"output": 7', '"output": 8'))
    again = one.replay(stage="generate")
    assert again.status == "partial_failure"
    assert "was changed since" in again.cases[1].generation_failures[0].message
    assert again.cases[0].generation_failures == []


def test_imported_outputs_survive_in_a_store(tmp_path: Path) -> None:
    storage = StorageConfig(store="sqlite", parameters={"path": str(tmp_path / "runs.db")})
    done = import_outputs(experiment(storage=storage), written(tmp_path, ROWS))
    done.experiment.run()
    store = sqlite_store(tmp_path / "runs.db")
    assert RunResult.of(store, done.result.run_id).metrics["counting/metric"].n_scored == 3
    store.close()
