"""A run's state: its attempts, its status, and the progress of its steps.

It is read from the journal alone: an attempt without an end is "running" here. Whether its process
is still alive is known from the store's lease.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from themis.core.base import RunId
from themis.core.events import Event, EventKind, Stage, StepAddress
from themis.core.results import RunProgress, RunStatus, StageProgress
from themis.core.store import RunStore
from themis.views.accumulators import Latencies, Total
from themis.views.attempts import later_attempts
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
        later: attempts after the one that is shown, whose events are left out.

    Attributes:
        attempts: by number, what is known of each attempt.
        attempt: number of the newest attempt, 0 before the first.
        through: last stage that a finished attempt completed.
        notes: what the user should know, each text once.
        later: numbers of the attempts that are left out.
    """

    def __init__(self, later: Sequence[int] = ()) -> None:
        self.later = list(later)
        self.attempts: dict[int, dict[str, Any]] = {}
        self.attempt = 0
        self.through: str | None = None
        self.notes: list[str] = []

    def add(self, event: Event) -> None:
        """Add one event; events of cases are ignored."""
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
            # A resumed attempt keeps its first start and provenance.
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
        """Why the newest attempt was stopped early; None if it was not."""
        reason: str | None = self.attempts.get(self.attempt, {}).get("reason")
        return reason

    @property
    def status(self) -> RunStatus:
        """Status of the newest attempt; pending before the first."""
        if not self.attempts:
            return RunStatus.PENDING
        return RunStatus(self.attempts[self.attempt]["status"])

    @property
    def is_bounded(self) -> bool:
        """Whether the newest attempt limits the age of what it reuses."""
        return self.attempts.get(self.attempt, {}).get("not_before") is not None

    def needs_no_more(self, steps: CaseSteps) -> bool:
        """Return whether a case is finished in the newest attempt."""
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

    A step counts once, by its newest event. Tokens, cost and latencies cover all work done, that of
    superseded attempts included, and no reused step; the tokens of reused answers are summed apart.

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

    def add(self, steps: CaseSteps) -> None:
        """Add one case."""
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
                if event.reused:
                    counts[1] += 1
                if "renewed" in event.data and event.attempt == self._head.attempt:
                    self._renewed += 1
                if stage is _GENERATE:
                    self._date(event)
                elif address.call is None:
                    continue  # what follows is of answers alone
                if event.artifact is not None and event.artifact.mentions(HINT):
                    opened[event.seq] = self._report(event, address)
                if event.reused:
                    found = _paid_for(event, address, opened)
                    self._tokens_reused.update(found.get("token_usage") or {})
            else:
                counts[2] += 1
                # A failed judge call is no failed case: a panel may do without it.
                errors = errors or address.call is None
                if address.call is None and steps.index < self._first_failed:
                    self._first_failed = steps.index
                    self._first_failure = event.data["failure"]["message"]
        self._with_errors += errors
        for event in steps.events:
            place = event.address
            if event.kind is not _DONE or event.reused or place is None:
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
        """Add the model that an answer reports, and return the answer's payload."""
        assert event.artifact is not None
        payload = event.artifact.payload
        if address.stage is _GENERATE:
            self._reported.add(payload, None)
        else:
            self._reported.add(payload.get("response") or {}, payload["call"]["judge"])
        return payload

    def _work(self, event: Event, found: dict[str, Any]) -> None:
        used = 0
        if usage := found.get("token_usage"):
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
    """Return whether an artifact, which an adapter may set to anything, is a duration."""
    return type(value) in (int, float) and value >= 0


def _paid_for(
    event: Event, address: StepAddress, opened: Mapping[int, dict[str, Any]]
) -> dict[str, Any]:
    """Return the part of a generation or judge call that holds its tokens and times.

    Args:
        event: the step's event.
        address: the step.
        opened: payloads that are decoded already, by event number.
    """
    assert event.artifact is not None
    if not event.artifact.mentions(*_TELLING):
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
        head.add(event)
    return head
