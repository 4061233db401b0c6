"""What a bundle says is held to what Themis reads, also where every hash is right.

Covers: themis.exchange.bundle, themis.exchange.incoming, themis.exchange.outgoing,
themis.exchange.records
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from themis import Experiment, InMemoryRunStore, use
from themis.core.config import EvaluationConfig, GenerationConfig, StorageConfig
from themis.core.errors import DefinitionError
from themis.core.hashing import encode
from themis.core.models import Case, Dataset
from themis.exchange.bundle import Bundle
from themis.exchange.incoming import bring_in
from themis.exchange.outgoing import export
from themis.experiment.result import RunResult
from themis.reporting import Reporter

DATA = Dataset(
    dataset_id="d",
    cases=[Case(case_id=f"c{n}", input=f"{n}+{n}", expected_output=str(2 * n)) for n in range(2)],
)


def experiment() -> Experiment:
    return Experiment(
        generation=GenerationConfig(generator=use("builtin/demo_generator", accuracy=0.6)),
        evaluation=EvaluationConfig(
            metrics=["builtin/exact_match", use("builtin/llm_rubric", rubric="r", name="r")],
            judge_models=["builtin/demo_judge"],
        ),
        storage=StorageConfig(store="memory"),
        datasets=[DATA],
    )


def _records() -> list[dict[str, Any]]:
    one = experiment()
    run_id = one.run(progress=False).run_id
    bundle = export(one.store, run_id, "evaluation")
    return [json.loads(line)["record"] for line in bundle.data.splitlines()]


RECORDS = _records()
PLACES = {
    name: number
    for number, record in reversed(list(enumerate(RECORDS)))
    for name in [
        "manifest"
        if number == 0
        else " ".join(
            str(part)
            for part in (
                record["record"],
                record.get("stage"),
                record.get("component"),
                record.get("call"),
            )
            if part
        )
    ]
}
"""One record of each kind, by what it is."""


def sealed(records: list[dict[str, Any]]) -> bytes:
    """Return the bundle of these records, every hash made anew."""

    def line(record: dict[str, Any]) -> bytes:
        body = encode(record)
        digest = sha256(body).hexdigest().encode()
        return b'{"sha256":"' + digest + b'","record":' + body + b"}\n"

    body = b"".join(map(line, records[1:]))
    return line({**records[0], "body_sha256": sha256(body).hexdigest()}) + body


def changed(name: str, path: tuple[Any, ...], value: Any = None, *, gone: bool = False) -> bytes:
    records = copy.deepcopy(RECORDS)
    target: Any = records[PLACES[name]]
    for part in path[:-1]:
        target = target[part]
    if gone:
        del target[path[-1]]
    else:
        target[path[-1]] = value
    return sealed(records)


def looked_at(store: InMemoryRunStore, run_id: str) -> None:
    """Read a run in every way that there is, and go on with it."""
    result = RunResult.of(store, run_id)  # type: ignore[arg-type]
    assert repr(result)
    list(result.score_rows())
    list(result.cases)
    result.judges("r")
    for form in Reporter.formats:
        Reporter(store).render(run_id, form)
    experiment().run(store=store, progress=False)


def test_records_as_they_were_written_are_taken() -> None:
    store = InMemoryRunStore()
    looked_at(store, bring_in(store, Bundle.read(sealed(RECORDS)), "evaluation"))


GENERATED = "step generate"
SCORED = "step score builtin/exact_match"
ASKED = "step judge r builtin/demo_judge"


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("manifest", ("status",), "splendid"),
        ("manifest", ("status",), "running"),
        ("manifest", ("through",), "x"),
        ("manifest", ("notes",), None),
        ("manifest", ("provenance",), "here"),
        ("manifest", ("provenance", "at"), 1e18),
        ("manifest", ("more",), 1),
        ("case", ("index",), None),
        ("case", ("dataset_id",), {}),
        ("case", ("record",), "cases"),
        (GENERATED, ("index",), 999),
        (GENERATED, ("index",), 1.5),
        (GENERATED, ("case_id",), "c1"),
        (GENERATED, ("stage",), "guess"),
        (GENERATED, ("sample",), []),
        (GENERATED, ("key",), None),
        (GENERATED, ("at",), "now"),
        (GENERATED, ("at",), 1e18),
        (GENERATED, ("reused",), 1.5),
        (GENERATED, ("data",), None),
        (GENERATED, ("data", "ms"), "x"),
        (GENERATED, ("payload",), None),
        (GENERATED, ("payload", "token_usage", "prompt_tokens"), None),
        (GENERATED, ("payload", "latency_ms"), "x"),
        (SCORED, ("payload",), {}),
        (SCORED, ("payload", "value"), "x"),
        (ASKED, ("payload", "prompt"), None),
        (ASKED, ("payload", "response", "text"), 5),
        ("finished", ("data", "through"), "x"),
        ("finished", ("data", "outages"), None),
    ],
)
def test_a_record_that_no_run_could_have_written_is_refused_and_nothing_is_written(
    name: str, path: tuple[Any, ...], value: Any
) -> None:
    store = InMemoryRunStore()
    with pytest.raises(DefinitionError) as refused:
        bring_in(store, Bundle.read(changed(name, path, value)), "evaluation")
    assert "\n" not in str(refused.value)
    assert store.runs() == []


@pytest.mark.parametrize("name", list(PLACES))
def test_no_field_of_a_record_may_be_missing(name: str) -> None:
    for field in RECORDS[PLACES[name]].keys() - {"body_sha256"}:  # which is made anew
        store = InMemoryRunStore()
        with pytest.raises(DefinitionError):
            bring_in(store, Bundle.read(changed(name, (field,), gone=True)), "evaluation")
        assert store.runs() == []


def test_a_bundle_of_a_stage_brings_no_step_beyond_it() -> None:
    records = copy.deepcopy(RECORDS)
    records[0]["kind"] = "generation"
    store = InMemoryRunStore()
    with pytest.raises(DefinitionError, match="beyond its stages"):
        bring_in(store, Bundle.read(sealed(records)), "generation")
    assert store.runs() == []


def paths(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    for name, inner in items:
        yield (*before, name)
        yield from paths(inner, (*before, name))


EVERYWHERE = [(name, path) for name, place in PLACES.items() for path in paths(RECORDS[place])]
VALUES = st.sampled_from([None, "x", "", -1, 10**6, 1.5, [], {}, True, 2.0**60, {"a": [None]}])


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(EVERYWHERE), VALUES)
@example((GENERATED, ("payload", "token_usage")), [])
def test_whatever_is_taken_can_be_read_and_what_is_refused_leaves_nothing(
    where: tuple[str, tuple[Any, ...]], value: Any
) -> None:
    store = InMemoryRunStore()
    try:
        run_id = bring_in(store, Bundle.read(changed(*where, value)), "evaluation")
    except DefinitionError:
        assert store.runs() == []
    else:
        looked_at(store, run_id)
