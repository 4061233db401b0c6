"""What came of a run: per case, per score row, per metric."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from themis.core.base import JSONObject, Model
from themis.core.judging import EvaluationExecution
from themis.core.models import GenerationResult, ParsedOutput, ReducedCandidate, Score, TraceStep


class RunStatus(StrEnum):
    """How a run stands."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    PARTIAL_FAILURE = "partial_failure"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class StepFailure(Model):
    """A step that failed, as data."""

    stage: str
    category: str
    """What kind of failure: generation, timeout, reduction, parse_failure, judge, ..."""
    message: str
    """One line, naming the component and what it did."""
    cause: str | None = None
    """Class of the exception."""
    traceback: str | None = None
    trace: list[TraceStep] = Field(default_factory=list)
    """Steps taken before it failed, where the component told of them."""
    tries: list[JSONObject] = Field(default_factory=list)
    """History of the tries that failed: category, message, seconds."""
    candidate_id: str | None = None
    component: str | None = None
    """Name of the parser, metric or judge."""
    retryable: bool = False
    fatal: bool = False
    status: int | None = None


class CaseResult(Model):
    """All that came of one case."""

    case_id: str
    dataset_id: str
    case_key: str
    generated_candidates: list[GenerationResult] = Field(default_factory=list)
    generation_failures: list[StepFailure] = Field(default_factory=list)
    reduced_candidate: ReducedCandidate | None = None
    reduction_error: StepFailure | None = None
    selected_candidate_ids: list[str] | None = None
    """What the selector chose, where there is one."""
    parsed_output: ParsedOutput | None = None
    """Of the reduced or only candidate, by the run's parser."""
    parse_error: StepFailure | None = None
    parsed_outputs: dict[str, ParsedOutput] = Field(default_factory=dict)
    """By candidate id."""
    parse_errors: dict[str, StepFailure] = Field(default_factory=dict)
    """By candidate id."""
    evaluation_executions: list[EvaluationExecution] = Field(default_factory=list)
    evaluation_failures: list[StepFailure] = Field(default_factory=list)
    scores: list[Score] = Field(default_factory=list)


Outcome = Literal["correct", "incorrect", "scored", "error"]


class ScoreRow(Model):
    """One line of the score table: one metric of one subject of one case."""

    case_id: str
    dataset_id: str
    case_key: str
    metric_id: str
    value: float | None
    """None exactly where the outcome is "error"."""
    candidate_id: str | None
    outcome: Outcome
    error_category: str | None = None
    """Why it is an error; or, beside a value, which failure of the model's there was: it was scored
    by rule (parse_failure, parse_null, refused), or as usual though truncated or empty."""
    error_message: str | None = None
    details: JSONObject = Field(default_factory=dict)


class CorpusValue(Model):
    """A metric's value over a whole run, made of its cases' statistics and no mean of scores."""

    value: float | None = None
    """None where there is none: see ``failure``."""
    failure: str | None = None
    """Why there is no value."""
    interval: list[float] | None = None
    """95 percent interval."""
    interval_failure: str | None = None
    """Why a value has no interval, where cases drawn again have no value."""
    interval_method: str | None = None
    """"bootstrap": percentiles over resampled cases."""
    resamples: int | None = None
    """How often the cases were drawn again."""
    seed: int | None = None
    """Of the draws."""
    n_cases: int = 0
    """Cases that are in it."""
    n_rows: int = 0
    """Scored candidates that are in it."""
    n_without: int = 0
    """Rows that are not: errors, and values given by rule for a failure of the model's."""


class MetricSummary(Model):
    """A metric over a run. The mean is over cases; a case's score is the mean of its samples'."""

    metric_id: str
    mean: float | None
    """None where nothing was scored."""
    n_cases: int
    """Cases of the run."""
    n_cases_scored: int
    """Cases that have at least one scored row: the mean's denominator."""
    n_missing: int = 0
    """Cases that have no row of this metric yet: not reached, or not so far."""
    n_scored: int
    """Rows that have a value."""
    n_errors: int
    """Rows that have none: outages, outside the mean."""
    n_unparsed: int
    """Rows whose candidate could not be parsed."""
    outcomes: dict[str, int] = Field(default_factory=dict)
    errors: dict[str, int] = Field(default_factory=dict)
    """Error rows by category."""
    failures: dict[str, int] = Field(default_factory=dict)
    """Rows counted incorrect or worst for a failure of the model's, by category."""
    endings: dict[str, int] = Field(default_factory=dict)
    """Rows whose answer was refused, truncated or empty, however they were scored."""
    bounds: list[float] | None = None
    """The mean had every error, and all that is still to come, been lowest, and highest; None
    without a value range."""
    variance: float | None = None
    """Sample variance (n - 1) of the cases' scores."""
    kind: Literal["binary", "value"] = "value"
    value_range: list[float] | None = None
    higher_is_better: bool = True
    unit: str | None = None
    interval: list[float] | None = None
    """Confidence interval of the mean; filled in by analysis."""
    interval_method: str | None = None
    corpus: CorpusValue | None = None
    """The value over the run as a whole, of a metric that has one."""

    @property
    def value(self) -> float | None:
        """The headline: the value over the run as a whole, of a metric that has one; the mean."""
        return self.mean if self.corpus is None else self.corpus.value

    def plain(self) -> dict[str, Any]:
        """Return the figures as plain JSON data, each of them, null where there is none."""
        return self.model_dump(mode="json")


class StageProgress(Model):
    """Steps of one stage so far."""

    done: int = 0
    reused: int = 0
    failed: int = 0


class ReportedModel(Model):
    """What an endpoint said of itself in so many answers."""

    judge: str | None = None
    """The judge that was asked; None for the generator."""
    model: str | None
    system_fingerprint: str | None
    answers: int
    deviates: bool
    """Whether it is another model or system fingerprint than in most answers of the same asker."""


class RunProgress(Model):
    """How far a run is; every count is of committed events."""

    n_cases: int = 0
    cases_finished: int = 0
    cases_with_errors: int = 0
    stages: dict[str, StageProgress] = Field(default_factory=dict)
    renewed: int = 0
    """Steps made in the newest attempt in place of a result that was too old to be reused."""
    tokens: dict[str, int] = Field(default_factory=dict)
    """Of the work done, not of what was reused: prompt_tokens, completion_tokens, ..."""
    tokens_reused: dict[str, int] = Field(default_factory=dict)
    """Of the answers that stand and were reused: what they used when they were made, and was not
    spent again."""
    cost_usd: float | None = 0.0
    """US dollars of the work done, as far as its price is known."""
    unpriced_calls: int = 0
    """Calls that used tokens at an unknown price: what they cost comes on top."""
    first_failure: str | None = None
    """What the first case that has a failed step says of it."""
    latency_ms_sum: float = 0.0
    latency_ms: dict[str, float] = Field(default_factory=dict)
    """p50, p90, p99 and max in milliseconds of generations and judge calls made, each within one
    percent; empty where none was made."""
    first_token_ms: dict[str, float] = Field(default_factory=dict)
    """The same of the time to the first token, of answers that were streamed."""
    reported: list[ReportedModel] = Field(default_factory=list)
    """What endpoints said of themselves, reused answers included; none where none did."""
    deviating: int = 0
    """Answers whose endpoint reported another model or system fingerprint than the rest."""
    oldest: float | None = None
    """Unix seconds of the oldest generation in the run."""
    newest: float | None = None

    @property
    def steps_done(self) -> int:
        """Steps that have a result, reused ones included."""
        return sum(stage.done for stage in self.stages.values())

    @property
    def steps_reused(self) -> int:
        """Steps whose result was there before, in this store."""
        return sum(stage.reused for stage in self.stages.values())


class RunEstimate(Model):
    """What a run would do, before it does it."""

    run_id: str
    n_cases: int
    steps: dict[str, int]
    """Steps by stage; a judged metric counts under "judge" once for each subject, however many
    judge calls it makes. Where a selector is to choose, as many as if it chose every sample."""
    to_run: dict[str, int] = Field(default_factory=dict)
    """Of these, how many generations are not in the store."""
    prompt_tokens: int | None = None
    """Of all generations that are not in the store, about; None where the generator cannot say."""
    output_tokens_at_most: int | None = None
    """Of the same generations, each at its cap; None where they have none."""
    cost_usd: list[float] | None = None
    """US dollars of the same generations: with no output at all, and with each at its cap (or, of
    those without a cap, the first number only). None where the price is unknown."""
    notes: list[str] = Field(default_factory=list)


class ExecutionState(Model):
    """How a run stands, folded from its journal."""

    run_id: str
    status: RunStatus
    attempt: int
    """The newest attempt that is told of."""
    later_attempts: list[int] = Field(default_factory=list)
    """Attempts after it, where the run is shown as of an earlier one (``RUN@n``)."""
    attempts: list[dict[str, Any]] = Field(default_factory=list)
    """Each attempt's number, mode, start, status and, where it was stopped early, reason."""
    reason: str | None = None
    """Why the newest attempt was stopped early, where it was."""
    completed_through_stage: str | None = None
    progress: RunProgress = Field(default_factory=RunProgress)
    notes: list[str] = Field(default_factory=list)
