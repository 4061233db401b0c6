"""How a run stands: its attempts and status, and how far its steps are.

What was journaled is taken at its word: whether the process behind a running attempt is still alive
is for the store's lease to say.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from themis.core.base import RunId
from themis.core.events import Event, EventKind, Stage, StepAddress
from themis.core.protocols import RunStore
from themis.core.results import ExecutionState, RunProgress, RunStatus, StageProgress
from themis.views.attempts import later_attempts
from themis.views.exact import Total
from themis.views.latencies import Latencies
from themis.views.reported import HINT, ReportedFold
from themis.views.steps import CaseSteps

_ORDER = {stage.value: stage.order for stage in Stage}
_TELLING = (b'"token_usage"', b'"latency_ms"', b'"first_token_ms"')
_GENERATE = Stage.GENERATE
_DONE = EventKind.STEP_DONE  # looked up once: a fold asks it of every event
RUN_KINDS = frozenset({EventKind.RUN_STARTED, EventKind.RUN_FINISHED, EventKind.NOTE})


class RunHead:
    """Fold over a run's own events, in order of their numbers: few, however many the cases.

    Args:
        later: attempts whose events it is not fed, since an earlier one is looked at.

    Attributes:
        attempts: by number, what is known of each attempt.
        attempt: number of the newest attempt, 0 before the first.
        through: last stage that a finished attempt completed.
        notes: what the user should know, each text once.
        later: attempts after the newest that it was told of.
    """

    def __init__(self, later: Sequence[int] = ()) -> None:
        self.later = list(later)
        self.attempts: dict[int, dict[str, Any]] = {}
        self.attempt = 0
        self.through: str | None = None
        self.notes: list[str] = []

    def take(self, event: Event) -> None:
        """Take one event; those of cases are passed over."""
        data = event.data
        if event.kind is EventKind.RUN_STARTED:
            self._start(event)
        elif event.kind is EventKind.RUN_FINISHED:
            about = self.attempts.setdefault(event.attempt, {"attempt": event.attempt})
            about.update(status=data["status"], finished=event.at)
            if data.get("reason"):
                about["reason"] = data["reason"]
            self.attempt = max(self.attempt, event.attempt)
            self.through = data.get("through")
        elif event.kind is EventKind.NOTE and data["text"] not in self.notes:
            self.notes.append(data["text"])

    def _start(self, event: Event) -> None:
        data = event.data
        self.attempt = max(self.attempt, event.attempt)
        about = self.attempts.get(event.attempt)
        if about is None:
            # An attempt that is gone on with keeps its first start and provenance.
            about = self.attempts[event.attempt] = {
                "attempt": event.attempt,
                "mode": data.get("mode", "run"),
                "started": event.at,
                "redo": data.get("redo") or [],
                "metric_ids": data.get("metric_ids"),
                "reuse": data.get("reuse", "all"),
                "not_before": data.get("not_before"),
                "provenance": data.get("provenance") or {},
            }
        about["until"] = data.get("until", Stage.JUDGE.value)
        about["status"] = RunStatus.RUNNING.value
        about.pop("finished", None)
        about.pop("reason", None)

    @property
    def reason(self) -> str | None:
        """Why the newest attempt was stopped early, where it was."""
        reason: str | None = self.attempts.get(self.attempt, {}).get("reason")
        return reason

    @property
    def status(self) -> RunStatus:
        """How the newest attempt stands; pending before the first."""
        if not self.attempts:
            return RunStatus.PENDING
        return RunStatus(self.attempts[self.attempt]["status"])

    @property
    def is_bounded(self) -> bool:
        """Whether the newest attempt rests on nothing older than some date."""
        return self.attempts.get(self.attempt, {}).get("not_before") is not None

    def needs_no_more(self, steps: CaseSteps) -> bool:
        """Return whether a case has nothing left to do in the newest attempt."""
        finished = steps.finished
        if finished is None:
            return False
        now = self.attempts.get(self.attempt, {})
        afresh = now.get("mode", "run") not in ("run", "import") or now.get("reuse") == "none"
        if afresh and finished.attempt != self.attempt:
            return False
        until = now.get("until", "generate")
        if _ORDER[finished.data["through"]] < _ORDER[until]:
            return False
        bound = now.get("not_before")
        return afresh or bound is None or not steps.has_older(bound, Stage(until))


class ProgressFold:
    """Fold over whole cases: steps, tokens, cost and times.

    A step counts once, as its newest event has it. Tokens, cost and latencies are of all work done,
    that of superseded attempts included, and of nothing that was reused; the tokens behind reused
    answers that stand are added up by themselves.

    Args:
        head: the run's attempts, which say when a case is finished.
        n_cases: cases of the run.
    """

    def __init__(self, head: RunHead, n_cases: int) -> None:
        self._head = head
        self._n_cases = n_cases
        self._stages: dict[Stage, list[int]] = {}
        self._tokens: Counter[str] = Counter()
        self._tokens_reused: Counter[str] = Counter()
        self._cost = Total()
        self._priced = 0
        self._unpriced = 0
        self._latency = Latencies()
        self._first_token = Latencies()
        self._oldest: float | None = None
        self._newest: float | None = None
        self._finished = 0
        self._renewed = 0
        self._reported = ReportedFold()
        self._with_errors = 0
        self._first_failed = math.inf
        self._first_failure: str | None = None

    def take(self, steps: CaseSteps) -> None:
        """Take one case."""
        self._finished += self._head.needs_no_more(steps)
        errors = False
        opened: dict[int, dict[str, Any]] = {}
        for address, event in steps.newest.items():
            stage = address.stage
            counts = self._stages.get(stage)
            if counts is None:
                counts = self._stages[stage] = [0, 0, 0]
            if event.kind is _DONE:
                counts[0] += 1
                counts[1] += event.reused
                self._renewed += event.attempt == self._head.attempt and "renewed" in event.data
                if stage is _GENERATE:
                    self._date(event)
                if event.artifact is not None and event.artifact.mentions(HINT):
                    opened[event.seq] = self._report(event, address)
                if event.reused and (stage is _GENERATE or address.call is not None):
                    found = _paid_for(event, address, opened)
                    self._tokens_reused.update(found.get("token_usage") or {})
            else:
                counts[2] += 1
                # A judge that is out is the aggregation's to judge: a panel may do without it.
                errors = errors or address.call is None
                if address.call is None and steps.index < self._first_failed:
                    self._first_failed = steps.index
                    self._first_failure = event.data["failure"]["message"]
        self._with_errors += errors
        for event in steps.events:
            place = event.address
            if place is None or event.reused or event.kind is not _DONE:
                continue
            if place.stage is _GENERATE or place.call is not None:
                self._work(event, _paid_for(event, place, opened))

    def _date(self, event: Event) -> None:
        at = event.at if event.artifact is None else event.artifact.at
        if self._oldest is None or self._newest is None:
            self._oldest = self._newest = at
        elif at > self._newest:
            self._newest = at
        elif at < self._oldest:
            self._oldest = at

    def _report(self, event: Event, address: StepAddress) -> dict[str, Any]:
        """Take note of which model answered, and return the payload."""
        assert event.artifact is not None
        payload = event.artifact.payload
        if address.stage is Stage.GENERATE:
            self._reported.take(payload, None)
        elif address.call is not None:
            self._reported.take(payload.get("response") or {}, payload["call"]["judge"])
        return payload

    def _work(self, event: Event, found: dict[str, Any]) -> None:
        usage = found.get("token_usage") or {}
        self._tokens.update(usage)
        used = sum(usage.values())
        cost = event.data.get("cost")
        if cost is not None:
            self._cost.add(float(cost))
            self._priced += 1
        elif used:
            self._unpriced += 1
        latency = found.get("latency_ms")
        self._latency.add(float(event.data.get("ms", 0.0) if latency is None else latency))
        first = (found.get("artifacts") or {}).get("first_token_ms")
        if _is_duration(first):
            self._first_token.add(float(first))

    def progress(self) -> RunProgress:
        """Return the progress so far."""
        reported = self._reported.reported()
        return RunProgress(
            n_cases=self._n_cases,
            cases_finished=self._finished,
            cases_with_errors=self._with_errors,
            stages={
                stage.value: StageProgress(done=done, reused=reused, failed=failed)
                for stage, (done, reused, failed) in sorted(
                    self._stages.items(), key=lambda item: item[0].order
                )
            },
            renewed=self._renewed,
            tokens=dict(sorted(self._tokens.items())),
            tokens_reused=dict(sorted(self._tokens_reused.items())),
            cost_usd=None if self._unpriced and not self._priced else self._cost.value,
            unpriced_calls=self._unpriced,
            first_failure=self._first_failure,
            latency_ms_sum=self._latency.sum_ms,
            latency_ms=self._latency.figures(),
            first_token_ms=self._first_token.figures(),
            reported=reported,
            deviating=sum(one.answers for one in reported if one.deviates),
            oldest=self._oldest,
            newest=self._newest,
        )


def _is_duration(value: Any) -> TypeGuard[float]:
    """Return whether an adapter's own artifact is a time; it may hold anything."""
    return type(value) in (int, float) and value >= 0


def _paid_for(
    event: Event, address: StepAddress, opened: Mapping[int, dict[str, Any]]
) -> dict[str, Any]:
    """Return what a generation or a judge call says of tokens and time.

    Args:
        event: its event.
        address: its place.
        opened: payloads that were decoded already, by the numbers of their events.
    """
    assert event.artifact is not None
    if not any(map(event.artifact.mentions, _TELLING)):
        return {}
    payload = opened.get(event.seq) or event.artifact.payload
    if address.stage is Stage.GENERATE:
        return payload
    response: dict[str, Any] = payload.get("response") or {}
    return response


def run_head(store: RunStore, run_id: RunId) -> RunHead:
    """Read a run's attempts, status and notes; no case is read."""
    head = RunHead(later_attempts(store))
    for event in store.events(run_id, kinds=RUN_KINDS):
        head.take(event)
    return head


def state_of(run_id: RunId, head: RunHead, progress: RunProgress) -> ExecutionState:
    """Put together how a run stands."""
    return ExecutionState(
        run_id=run_id,
        status=head.status,
        attempt=head.attempt,
        later_attempts=head.later,
        attempts=[about for _, about in sorted(head.attempts.items())],
        reason=head.reason,
        completed_through_stage=head.through,
        progress=progress,
        notes=head.notes,
    )
