"""Every seam of Themis: what a component must offer, and what the engine asks of a store.

A method may be sync or async; Themis takes both. Read where present, and optional:

- ``provider_key`` (generator, judge): the endpoint whose limits apply; ``model``, ``base_url``:
  what is asked and where, for prices. ``fingerprinted``: a mapping of what a fingerprint covers.
- ``estimate_tokens``, ``bound_tokens`` (generator, judge): prompt tokens expected, for limits and
  estimates, and at most, for budgets; of ``(case, ctx)`` or ``(prompt)``. ``max_output_tokens``:
  the cap on output tokens that each request carries. ``aopen``, ``aclose``: awaited around a run.
- ``k`` (set metric): the samples a case must have at least; ``of_kind``: "binary", where it folds
  no other scores. ``additive`` (corpus metric): sums of statistics say as much as the statistics.
- ``reads``: what of the case is read, of {"input", "expected_output", "metadata"}; all by default.
  The rest is blanked. ``reads_parsed`` (reducer, set metric): it is given the parsed values.
- ``cpu_bound`` (parser, metric): run in worker processes, ``cpu_timeout`` seconds a call at most.
- on metrics ``kind`` ("binary" or "value"), ``value_range``, ``higher_is_better``, ``unit``,
  ``unparsed`` ("incorrect" or "error"), ``scores_refusals``: it is given what the model refused, as
  text. ``subject``: "candidate"; "trace" or "conversation", the way to one; judged also
  "candidates". A pure metric finds the way in its context, and no parser reads for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

from themis.core.base import ArtifactKey, RunId
from themis.core.contexts import (
    EvalScoreContext,
    GenerateContext,
    ParseContext,
    ReduceContext,
    ScoreContext,
    SelectContext,
    SetScoreContext,
)
from themis.core.events import Artifact, Event, EventKind
from themis.core.judging import (
    AggregationResult,
    CandidateSetSubject,
    ConversationSubject,
    JudgeCall,
    JudgeResponse,
    ParsedJudgment,
    RenderedJudgePrompt,
    TraceSubject,
)
from themis.core.kept import Lease, Owner, RunRecord, StoredCase
from themis.core.models import (
    Case,
    GenerationResult,
    ParsedOutput,
    ReducedCandidate,
    SampleScore,
    Score,
    ScoreError,
)
from themis.core.snapshot import RunSnapshot

T = TypeVar("T")
Maybe: TypeAlias = Awaitable[T] | T
"""A value, or a promise of one."""


class Component(Protocol):
    """What every component says of itself; all of it is part of identity."""

    @property
    def component_id(self) -> str:
        """Name of the component, such as "generator/my_model"."""
        ...

    @property
    def version(self) -> str:
        """Version of the component's behaviour."""
        ...

    def fingerprint(self) -> str:
        """Return a text that differs wherever the component would behave differently."""
        ...


class Generator(Component, Protocol):
    """Produces one candidate for one sample of a case.

    Later stages see the candidate without ``artifacts``, ``token_usage`` and ``latency_ms``: these
    are evidence, kept and shown, and no key covers them.
    """

    def generate(self, case: Case, ctx: GenerateContext, /) -> Maybe[GenerationResult]:
        """Return the candidate. Raise to say that there is none."""
        ...


class CandidateSelector(Component, Protocol):
    """Chooses among the samples of a case."""

    def select(
        self, candidates: Sequence[GenerationResult], ctx: SelectContext, /
    ) -> Maybe[Sequence[GenerationResult]]:
        """Return those to keep, at least one, in any order."""
        ...


class CandidateReducer(Component, Protocol):
    """Makes one candidate of several."""

    def reduce(
        self, candidates: Sequence[GenerationResult], ctx: ReduceContext, /
    ) -> Maybe[ReducedCandidate]:
        """Return the one candidate."""
        ...


class Parser(Component, Protocol):
    """Reads a value out of a candidate's final output."""

    def parse(
        self, candidate: GenerationResult | ReducedCandidate, ctx: ParseContext, /
    ) -> Maybe[ParsedOutput]:
        """Return the value; raise ``ParseError`` where there is none."""
        ...


class PureMetric(Component, Protocol):
    """Scores a parsed value by itself."""

    def score(
        self, parsed: ParsedOutput, case: Case, ctx: ScoreContext, /
    ) -> Maybe[Score | ScoreError]:
        """Return the score."""
        ...


class CorpusMetric(PureMetric, Protocol):
    """Has, beside each case's score, one value over the whole run.

    Its scores carry ``details["statistics"]``: a list of numbers, of one length in all cases.
    ``additive = True`` promises the same value of their sums as the only row.
    """

    def aggregate(self, statistics: Sequence[Sequence[float]], /) -> float:
        """Return the value over the statistics of one or more rows; called in a thread."""
        ...


class SetMetric(Component, Protocol):
    """Folds the scores that a metric of the run gave a case's samples into one score.

    What it does not declare of ``value_range``, ``higher_is_better`` and ``unit`` is that metric's.
    A sample without a score makes its row an error; it is never called with fewer than all.
    """

    @property
    def of(self) -> str:
        """Name of the metric whose scores it folds."""
        ...

    def score_set(
        self, scores: Sequence[SampleScore], case: Case, ctx: SetScoreContext, /
    ) -> Maybe[Score | ScoreError]:
        """Return the score of the case; ``scores`` holds one for each sample, in order."""
        ...


class EvaluationWorkflow(Protocol):
    """How a judged metric comes to its value for one subject.

    An optional ``min_judgments`` says how many judgments suffice; all of them by default.
    """

    def judge_calls(self) -> Sequence[JudgeCall]:
        """Return the questions to be asked."""
        ...

    def render_prompt(
        self, call: JudgeCall, subject: Any, ctx: EvalScoreContext, /
    ) -> RenderedJudgePrompt:
        """Return what the judge is asked."""
        ...

    def parse_judgment(
        self, call: JudgeCall, response: JudgeResponse, ctx: EvalScoreContext, /
    ) -> ParsedJudgment:
        """Read the answer; raise ``ParseError`` where it is no verdict."""
        ...

    def score_judgment(
        self, call: JudgeCall, judgment: ParsedJudgment, ctx: EvalScoreContext, /
    ) -> Score:
        """Return one judgment's score."""
        ...

    def aggregate(
        self,
        judgments: Sequence[ParsedJudgment],
        scores: Sequence[Score],
        ctx: EvalScoreContext,
        /,
    ) -> AggregationResult:
        """Return the metric's value."""
        ...


class LLMMetric(Component, Protocol):
    """Has judges score one candidate."""

    def build_workflow(
        self, subject: CandidateSetSubject, ctx: EvalScoreContext, /
    ) -> EvaluationWorkflow:
        """Return the workflow for a subject of one candidate."""
        ...


class SelectionMetric(Component, Protocol):
    """Has judges score a case's candidates together; declares ``subject = "candidates"``."""

    def build_workflow(
        self, subject: CandidateSetSubject, ctx: EvalScoreContext, /
    ) -> EvaluationWorkflow:
        """Return the workflow for all candidates of the case."""
        ...


class TraceMetric(Component, Protocol):
    """Has judges score the way to a candidate; declares ``subject = "trace"`` or "conversation"."""

    def build_workflow(
        self, subject: TraceSubject | ConversationSubject, ctx: EvalScoreContext, /
    ) -> EvaluationWorkflow:
        """Return the workflow for one trace or conversation."""
        ...


Metric = PureMetric | SetMetric | LLMMetric | SelectionMetric | TraceMetric


class JudgeModel(Component, Protocol):
    """Answers a judge's question."""

    def judge(
        self, prompt: RenderedJudgePrompt, /, *, seed: int | None = None
    ) -> Maybe[JudgeResponse]:
        """Return the answer. Raise to say that there is none."""
        ...


class LifecycleSubscriber(Protocol):
    """Is told what happens; implements any of these and ``before_``/``after_`` each stage.

    ``before_<stage>(case_id, address)`` is called before a step's work and ``after_<stage>(event)``
    once its event is committed. One that raises is reported and the run goes on.
    """

    def on_event(self, event: Event, /) -> object:
        """Called with every event, after its commit."""
        ...


class TracingProvider(Protocol):
    """Receives spans, one for each try of a step and each case."""

    def start_span(self, name: str, attributes: Mapping[str, Any], /) -> Any:
        """Begin a span and return it."""
        ...

    def end_span(self, span: Any, status: str, /) -> object:
        """End a span with status "ok" or "error"."""
        ...


@runtime_checkable
class RunStore(Protocol):
    """Keeps runs, events, cases and blobs, and folds nothing.

    Synchronous; called from any thread, one call at a time (an implementation locks). The contract
    suite in ``themis.testing`` says by test what these lines say by word.
    """

    def initialize(self) -> None:
        """Make the store ready: create or migrate it. Calling it again does nothing.

        Raises:
            StoreVersionError: a newer Themis wrote it. StoreUnavailableError: it cannot be opened.
        """
        ...

    def save_snapshot(self, snapshot: RunSnapshot) -> RunSnapshot:
        """Keep a snapshot under its run id and return the kept one; the first write wins."""
        ...

    def load_snapshot(self, run_id: RunId) -> RunSnapshot:
        """Return a run's snapshot.

        Raises:
            RunNotFoundError: there is none.
        """
        ...

    def runs(self) -> Sequence[RunRecord]:
        """Return all runs, oldest first."""
        ...

    def append(
        self, run_id: RunId, events: Sequence[Event], *, epoch: int
    ) -> Sequence[ArtifactKey]:
        """Append events with their artifacts: atomic, and durable on return.

        Reads nothing back where nothing collides. An artifact under a new key is kept as version
        0. One that ``supersedes``, or that finds another ``code`` standing under its key, is kept
        as the next version. Otherwise the first committed one wins: the event is made to refer to
        it, and where the two payloads differ the key is returned, so that its loser can go on from
        the winner. Each event's ``version`` is set accordingly.

        Returns:
            Keys of the artifacts that lost to a different payload.

        Raises:
            JournalConflictError: a ``(run_id, seq)`` is there already; nothing was appended.
            LeaseLostError: the run has a newer epoch; nothing was appended.
            StoreUnavailableError: it cannot be written; nothing was appended.
        """
        ...

    def events(
        self, run_id: RunId, *, after: int = 0, kinds: Collection[EventKind] | None = None
    ) -> Iterator[Event]:
        """Stream a run's events in order of ``seq``, those above ``after``, artifacts included."""
        ...

    def case_events(self, run_id: RunId, start: int, stop: int) -> Iterator[Event]:
        """Stream the events of cases ``start`` to ``stop`` (exclusive), by case index, then seq."""
        ...

    def lookup(self, keys: Collection[ArtifactKey]) -> Mapping[ArtifactKey, Artifact]:
        """Return, for each key that has any, its latest version."""
        ...

    def save_cases(self, fingerprint: str, start: int, cases: Sequence[StoredCase]) -> None:
        """Keep cases as positions ``start``... of a dataset's manifest; again is no change."""
        ...

    def cases(self, fingerprint: str, start: int, stop: int) -> Iterator[tuple[int, Case]]:
        """Stream the kept cases of a manifest's positions ``start`` to ``stop`` (exclusive)."""
        ...

    def find_case(self, fingerprint: str, case_id: str) -> int | None:
        """Return the position of a case in a manifest; None where it was not kept yet.

        Opens no case: it may be one of millions.
        """
        ...

    def put_blob(self, data: bytes) -> str:
        """Keep bytes by content and return their reference."""
        ...

    def get_blob(self, ref: str) -> bytes:
        """Return the bytes of a reference.

        Raises:
            KeyError: there are none.
        """
        ...

    def lease(
        self, run_id: RunId, owner: Owner, ttl: float, *, takeover: int | None = None
    ) -> Lease:
        """Take the run for ``ttl`` seconds under a new epoch.

        A lease that is expired, released, or whose epoch equals ``takeover`` is replaced.

        Raises:
            RunOwnedError: somebody holds it, with who, since when and the epoch.
        """
        ...

    def renew(self, lease: Lease, ttl: float) -> Lease:
        """Hold the run for ``ttl`` seconds from now.

        Raises:
            LeaseLostError: somebody else took it.
        """
        ...

    def release(self, lease: Lease) -> None:
        """Give the run back; nothing happens if it was lost."""
        ...

    def clear_run(self, run_id: RunId) -> None:
        """Forget a run, keeping the artifacts that other runs refer to."""
        ...

    def close(self) -> None:
        """Let go of files and connections; calling it again does nothing."""
        ...


Listener = Callable[[Sequence[Event]], object]
"""Is told of events once they are committed."""
