"""What happened: the facts of a run's journal, from which every view is folded.

An event says that something happened at a step; the artifact is what the step gave. An artifact is
stored once under its key and may be referred to by many events. Plain data classes, not models:
millions are made, and only Themis makes them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

from themis.core.base import ArtifactKey, RunId
from themis.core.hashing import decode, encode


class Stage(StrEnum):
    """The stages, in order."""

    GENERATE = "generate"
    SELECT = "select"
    REDUCE = "reduce"
    PARSE = "parse"
    SCORE = "score"
    JUDGE = "judge"

    __hash__ = str.__hash__  # what Enum brings is slow, and these stand in the keys of hot tables

    @property
    def order(self) -> int:
        """Position among the stages, from 0."""
        return _ORDER[self]


_ORDER = {stage: number for number, stage in enumerate(Stage)}


class EventKind(StrEnum):
    """What an event tells.

    ``run_started`` data: mode, until, redo, metric_ids, reuse, not_before, provenance, n_cases.
    ``step_done``: an artifact was made or, with ``reused``, found. Data: ms; of a generation or a
    judge call also cost, US dollars, where the price is known; renewed, where what was there was
    too old to be reused.
    ``step_failed`` data: failure (a ``StepFailure``); settled, where trying again cannot help.
    ``step_dropped``: what the step gave no longer holds, and was not made again.
    ``case_finished`` data: through (stage), outages (count of failed steps).
    ``budget_drawn`` data: tokens, dollars; how far the calls of this process may go from here on.
    ``run_finished`` data: status, through, reason, spent (tokens, dollars, seconds), headline (of
    an attempt that came to its end: see ``views/headline.py``) and corpus (by metric, its value
    over the whole run).
    ``note`` data: text; something the user should know, such as code that changed.
    """

    RUN_STARTED = "run_started"
    STEP_DONE = "step_done"
    STEP_FAILED = "step_failed"
    STEP_DROPPED = "step_dropped"
    CASE_FINISHED = "case_finished"
    BUDGET_DRAWN = "budget_drawn"
    RUN_FINISHED = "run_finished"
    NOTE = "note"

    __hash__ = str.__hash__  # as with Stage


class StepAddress(NamedTuple):
    """A step's place within its case."""

    stage: Stage
    sample: int | None = None
    """Index of the sample; None for what belongs to the whole case or the reduced candidate."""
    component: str | None = None
    """Name of the parser, metric or (in select) judge."""
    call: str | None = None
    """Id of a judge call; None for the step that aggregates them."""


@lru_cache(maxsize=4096)
def address_of(stage: Stage, sample: int | None, component: str | None = None) -> StepAddress:
    """Return a step's address: one object for all cases, which have theirs in common."""
    return StepAddress(stage, sample, component)


class Artifact:
    """What a step gave, encoded once.

    Attributes:
        key: digest of all that the step depended on.
        raw: the payload as JSON.
        code: digest of the component's code when it was made; None where its fingerprint says all.
        at: Unix seconds of its making.
        version: 0, or counting up each time a later attempt superseded it. Set by the store.
        supersedes: whether it is to take the place of what stands under its key.
        run_id: the run that made it. Set by the store.
    """

    __slots__ = ("at", "code", "key", "raw", "run_id", "supersedes", "version")

    def __init__(
        self,
        *,
        key: ArtifactKey,
        raw: bytes,
        at: float,
        code: str | None = None,
        version: int = 0,
        supersedes: bool = False,
        run_id: RunId | None = None,
    ) -> None:
        self.key = key
        self.raw = raw
        self.at = at
        self.code = code
        self.version = version
        self.supersedes = supersedes
        self.run_id = run_id

    @classmethod
    def of(cls, key: ArtifactKey, payload: dict[str, Any], *, at: float) -> Artifact:
        """Return an artifact of a payload, encoded."""
        return cls(key=key, raw=encode(payload), at=at)

    def mentions(self, *marks: bytes) -> bool:
        """Return whether the payload's JSON holds one of these: that spares decoding it."""
        for mark in marks:  # noqa: SIM110 - a generator would take twice as long
            if self.raw.find(mark) >= 0:  # ``in`` first takes it for a number, and raises within
                return True
        return False

    @property
    def payload(self) -> dict[str, Any]:
        """The payload, decoded anew at each reading."""
        value: dict[str, Any] = decode(self.raw)
        return value


@dataclass(slots=True, kw_only=True)
class Event:
    """One fact of a journal. Made by the engine, numbered by the journal, then never changed."""

    kind: EventKind
    attempt: int
    at: float
    """Unix seconds."""
    seq: int = 0
    """Position in the run's journal, from 1."""
    case_index: int | None = None
    """Position of the case in the run, over its datasets; None for the run's own events."""
    address: StepAddress | None = None
    candidate_id: str | None = None
    key: ArtifactKey | None = None
    version: int = 0
    """Version of the artifact under ``key``."""
    reused: bool = False
    data: dict[str, Any] = field(default_factory=dict)
    artifact: Artifact | None = None
    """What the step gave: on appending None where the store has it already; on reading always there
    for a ``step_done``."""
    found: Artifact | None = None
    """On appending, what a reused step refers to; no store writes it."""
