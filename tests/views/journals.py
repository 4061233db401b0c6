"""Hand-made runs: a snapshot, its cases, and the events of its journal, written down one by one."""

from __future__ import annotations

from typing import Any

from themis.core.base import ArtifactKey
from themis.core.events import Artifact, Event, EventKind, Stage, StepAddress
from themis.core.hashing import encode
from themis.core.models import Case
from themis.core.results import MetricSummary
from themis.core.snapshot import (
    ComponentRef,
    DatasetRef,
    MetricFacts,
    Provenance,
    RunIdentity,
    RunSnapshot,
)
from themis.core.store import RunStore, StoredCase
from themis.stores.memory import InMemoryRunStore
from themis.views.scores import ScoresFold
from themis.views.steps import fold_cases

EXACT = "builtin/exact_match"
PARSER = "builtin/text"
BINARY = MetricFacts(kind="binary", value_range=[0.0, 1.0])


def component(role: Any, name: str, **fields: Any) -> ComponentRef:
    return ComponentRef(
        role=role, name=name, component_id=name, version="1", fingerprint="f", **fields
    )


def metric(name: str = EXACT, *, parser: str | None = None, **facts: Any) -> ComponentRef:
    made = MetricFacts(**{**BINARY.model_dump(), **facts})
    return component("metric", name, parser=parser, metric=made)


def snapshot_of(
    n_cases: int = 2,
    *,
    metrics: list[ComponentRef] | None = None,
    num_samples: int = 1,
    reducer: bool = False,
    selector: bool = False,
    parser: str | None = None,
    datasets: list[DatasetRef] | None = None,
) -> RunSnapshot:
    return RunSnapshot(
        identity=RunIdentity(
            datasets=datasets or [DatasetRef(dataset_id="d", fingerprint="fd", n_cases=n_cases)],
            generator=component("generator", "gen"),
            selector=component("selector", "sel") if selector else None,
            reducer=component("reducer", "red") if reducer else None,
            parsers=[component("parser", parser)] if parser else [],
            default_parser=parser,
            metrics=[metric(parser=parser)] if metrics is None else metrics,
            num_samples=num_samples,
        ),
        provenance=Provenance(themis="0", python="3.11", platform="linux", host="h", at=0.0),
    )


class Journal:
    """Events with growing numbers and clocks; each method adds one and returns it."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.attempt = 1

    def _add(self, kind: EventKind, **fields: Any) -> Event:
        number = len(self.events) + 1
        event = Event(kind=kind, attempt=self.attempt, at=1000.0 + number, seq=number, **fields)
        self.events.append(event)
        return event

    def started(self, *, attempt: int = 1, mode: str = "run", until: str = "judge") -> Event:
        self.attempt = attempt
        data: dict[str, Any] = {
            "mode": mode,
            "until": until,
            "redo": [],
            "metric_ids": None,
            "provenance": {},
        }
        return self._add(EventKind.RUN_STARTED, data=data)

    def finished(
        self,
        status: str = "completed",
        through: str | None = "judge",
        reason: str | None = None,
    ) -> Event:
        data: dict[str, Any] = {"status": status, "through": through, "reason": reason}
        return self._add(EventKind.RUN_FINISHED, data=data)

    def note(self, text: str) -> Event:
        return self._add(EventKind.NOTE, data={"text": text})

    def case_finished(self, case: int, *, through: str = "judge") -> Event:
        data = {"through": through, "outages": 0}
        return self._add(EventKind.CASE_FINISHED, case_index=case, data=data)

    def done(
        self,
        case: int,
        address: StepAddress,
        payload: dict[str, Any],
        *,
        candidate_id: str | None = None,
        reused: bool = False,
        ms: float | None = 5.0,
        made_at: float | None = None,
    ) -> Event:
        key = ArtifactKey(f"k{len(self.events)}")
        at = 1000.0 + len(self.events) + 1 if made_at is None else made_at
        return self._add(
            EventKind.STEP_DONE,
            case_index=case,
            address=address,
            candidate_id=candidate_id,
            key=key,
            reused=reused,
            data={} if reused or ms is None else {"ms": ms},
            artifact=Artifact(key=key, raw=encode(payload), at=at),
        )

    def failed(
        self,
        case: int,
        address: StepAddress,
        category: str,
        message: str = "it broke",
        *,
        candidate_id: str | None = None,
        **data: Any,
    ) -> Event:
        failure = {
            "stage": address.stage.value,
            "category": category,
            "message": message,
            "component": address.component or "gen",
        }
        return self._add(
            EventKind.STEP_FAILED,
            case_index=case,
            address=address,
            candidate_id=candidate_id,
            data={"failure": failure, **data},
        )

    def generate(
        self, case: int, sample: int = 0, output: Any = "out", *, reused: bool = False, **more: Any
    ) -> Event:
        payload = {"candidate_id": "given", "final_output": output, **more}
        return self.done(
            case,
            StepAddress(Stage.GENERATE, sample),
            payload,
            candidate_id=f"c{sample}",
            reused=reused,
        )

    def score(
        self, case: int, value: float, sample: int | None = 0, name: str = EXACT, **more: Any
    ) -> Event:
        return self.done(
            case,
            StepAddress(Stage.SCORE, sample, name),
            {"value": value, **more},
            candidate_id="r" if sample is None else f"c{sample}",
        )


def store_of(
    snapshot: RunSnapshot, journal: Journal, cases: list[Case] | None = None
) -> InMemoryRunStore:
    """Return a store that holds the run."""
    store = InMemoryRunStore()
    store.save_snapshot(snapshot)
    offset = 0
    for dataset in snapshot.identity.datasets:
        chosen = cases or [
            Case(case_id=f"case-{number}", input=f"question {number}", expected_output="out")
            for number in range(dataset.n_cases)
        ]
        stored = [
            StoredCase(
                case_id=case.case_id,
                digest=f"{offset + number:016d}".encode(),
                raw=encode(
                    {
                        "input": case.input,
                        "expected_output": case.expected_output,
                        "metadata": case.metadata,
                    }
                ),
            )
            for number, case in enumerate(chosen)
        ]
        store.save_cases(dataset.fingerprint, 0, stored)
        offset += dataset.n_cases
    store.append(snapshot.run_id, journal.events, epoch=1)
    return store


def summaries_of(
    store: RunStore, snapshot: RunSnapshot, metric_ids: list[str] | None = None
) -> list[MetricSummary]:
    fold = ScoresFold(snapshot, metric_ids)
    fold_cases(store, snapshot, fold)
    return fold.summaries()
