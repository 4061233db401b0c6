"""The numbers that a run reports are those that its steps give, or the difference is named.

Covers: themis.views.verification
"""

from __future__ import annotations

from themis import evaluate
from themis.core.config import StorageConfig
from themis.core.hashing import decode, encode
from themis.experiment.result import RunResult
from themis.stores import InMemoryRunStore
from themis.views.verification import verify_run


def _run() -> tuple[InMemoryRunStore, RunResult]:
    result = evaluate(
        model="builtin/demo_generator",
        data=[
            {"case_id": "right", "input": "1 + 1", "expected_output": "2"},
            {"case_id": "wrong", "input": "1 + 2", "expected_output": "4"},
        ],
        metric="builtin/exact_match",
        storage=StorageConfig(store="memory"),
        progress=False,
    )
    store = result._store
    assert isinstance(store, InMemoryRunStore)
    return store, result


def test_the_headline_of_a_run_is_what_its_steps_give() -> None:
    store, result = _run()
    found = verify_run(store, result.run_id)
    assert found.n_values > 20
    assert found.differences == []


def test_a_headline_that_its_steps_do_not_give_is_named_value_by_value() -> None:
    store, result = _run()
    mean = result.metrics["builtin/exact_match"].mean
    rows = store._journals[result.run_id].rows
    last = max(rows)
    meta = decode(rows[last].meta or b"")
    meta[4]["headline"]["summaries"][0]["mean"] = 0.25
    rows[last] = rows[last]._replace(meta=encode(meta))
    (told,) = verify_run(store, result.run_id).differences
    assert (told.field, told.reported) == ("summaries.0.mean", 0.25)
    assert told.derived == mean == 1.0
