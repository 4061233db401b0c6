"""The protocols of components: the attributes and methods that each kind must have.

A method may be sync or async. Optional attributes:

- ``provider_key`` (generator, judge): the endpoint whose limits apply; ``model``, ``base_url``:
  model and address, to look up prices. ``fingerprinted``: a mapping of what a fingerprint covers.
- ``estimate_tokens``, ``max_prompt_tokens`` (generator, judge): methods of ``(case, ctx)`` or
  ``(prompt)`` that return the expected prompt tokens, for limits and estimates, and the greatest
  possible number, for budgets.
- ``max_output_tokens``: the limit on output tokens that each request carries. ``aopen``,
  ``aclose``: awaited before and after a run.
- ``k`` (set metric): how many samples a case needs; ``of_kind``: "binary" if it folds only binary
  scores. ``additive`` (corpus metric): its value can be computed from the sums of the statistics.
- ``reads``: the parts of the case that it uses, of {"input", "expected_output", "metadata"}; all by
  default. It is given the case without the others. ``reads_parsed`` (reducer, set metric): it is
  given the parsed values.
- ``cpu_bound`` (parser, metric): run in worker processes, or ``cpu_bound_over`` so many
  characters of an answer; ``cpu_timeout`` seconds a call at most. An answer on which a call does
  not end, where it does on a plain one, is the model's failure.
- on metrics ``kind`` ("binary" or "value"), ``value_range``, ``higher_is_better``, ``unit``,
  ``unparsed`` ("incorrect" or "error"), ``scores_refusals``: it is given refusals, as text.
  ``subject``: "candidate", "trace" or "conversation"; for judged metrics also "candidates". A
  metric without judges finds the trace or conversation in its context, and no parser is run for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

from themis.core.contexts import (
    EvalScoreContext,
    GenerateContext,
    ParseContext,
    ReduceContext,
    ScoreContext,
    SelectContext,
    SetScoreContext,
)
from themis.core.events import Event
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
from themis.core.models import (
    Case,
    GenerationResult,
    ParsedOutput,
    ReducedCandidate,
    SampleScore,
    Score,
    ScoreError,
)

T = TypeVar("T")
Maybe: TypeAlias = Awaitable[T] | T
"""A value, or an awaitable of it."""


class Component(Protocol):
    """What every component has: id, version and fingerprint, all part of a run's identity."""

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

    Later stages are given the candidate without ``artifacts``, ``token_usage`` and ``latency_ms``,
    which are stored and shown as evidence and are part of no key.
    """

    def generate(self, case: Case, ctx: GenerateContext, /) -> Maybe[GenerationResult]:
        """Return the candidate; raise an exception if there is none."""
        ...


class CandidateSelector(Component, Protocol):
    """Chooses among the samples of a case."""

    def select(
        self, candidates: Sequence[GenerationResult], ctx: SelectContext, /
    ) -> Maybe[Sequence[GenerationResult]]:
        """Return the candidates to keep, at least one, in any order."""
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
        """Return the value; raise ``ParseError`` if there is none."""
        ...


class PureMetric(Component, Protocol):
    """Scores a parsed value by itself."""

    def score(
        self, parsed: ParsedOutput, case: Case, ctx: ScoreContext, /
    ) -> Maybe[Score | ScoreError]:
        """Return the score."""
        ...


class CorpusMetric(PureMetric, Protocol):
    """A metric with one value over the whole run beside each case's score.

    Its scores carry ``details["statistics"]``: a list of numbers, equally long in all cases.
    ``additive = True`` promises that one row with the sums of all rows gives the same value.
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
    """How a judged metric gets its value for one subject: calls, prompts, verdicts, aggregation.

    The optional ``min_judgments`` is the number of judgments that suffice; by default, all.
    """

    def judge_calls(self) -> Sequence[JudgeCall]:
        """Return the questions to be asked."""
        ...

    def render_prompt(
        self, call: JudgeCall, subject: Any, ctx: EvalScoreContext, /
    ) -> RenderedJudgePrompt:
        """Return the prompt for a judge call."""
        ...

    def parse_judgment(
        self, call: JudgeCall, response: JudgeResponse, ctx: EvalScoreContext, /
    ) -> ParsedJudgment:
        """Return the verdict in an answer; raise ``ParseError`` if there is none."""
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
    """A metric in which judges score one candidate."""

    def build_workflow(
        self, subject: CandidateSetSubject, ctx: EvalScoreContext, /
    ) -> EvaluationWorkflow:
        """Return the workflow for a subject of one candidate."""
        ...


class SelectionMetric(Component, Protocol):
    """A metric in which judges compare a case's candidates; has ``subject = "candidates"``."""

    def build_workflow(
        self, subject: CandidateSetSubject, ctx: EvalScoreContext, /
    ) -> EvaluationWorkflow:
        """Return the workflow for all candidates of the case."""
        ...


class TraceMetric(Component, Protocol):
    """A metric in which judges score a trajectory; has ``subject = "trace"`` or "conversation"."""

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
        """Return the answer; raise an exception if there is none."""
        ...


class LifecycleSubscriber(Protocol):
    """Receives a run's events; each method is optional.

    ``before_<stage>(case_id, address)`` is called before a step's work and ``after_<stage>(event)``
    once its event is committed. An exception of a subscriber is reported, and the run goes on.
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
