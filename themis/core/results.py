"""The results of a run: per case, per score row, per metric, and its state."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from themis.core.base import JSONObject, Model
from themis.core.judging import EvaluationExecution
from themis.core.models import GenerationResult, ParsedOutput, ReducedCandidate, Score, TraceStep

_SEVERAL = 2


class RunStatus(StrEnum):
    """A run's status."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    PARTIAL_FAILURE = "partial_failure"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class StepFailure(Model):
    """A step's failure, as data."""

    stage: str
    category: str
    """What kind of failure: generation, timeout, reduction, parse_failure, judge, ..."""
    message: str
    """One line, naming the component and what it did."""
    cause: str | None = None
    """Class of the exception."""
    traceback: str | None = None
    trace: list[TraceStep] = Field(default_factory=list)
    """The generator's trace up to the failure, if it was given with the error."""
    tries: list[JSONObject] = Field(default_factory=list)
    """The failed tries, each with category, message and seconds."""
    candidate_id: str | None = None
    component: str | None = None
    """Name of the parser, metric or judge."""
    retryable: bool = False
    fatal: bool = False
    status: int | None = None


class CaseResult(Model):
    """The results of one case, stage by stage."""

    case_id: str
    dataset_id: str
    case_key: str
    generated_candidates: list[GenerationResult] = Field(default_factory=list)
    generation_failures: list[StepFailure] = Field(default_factory=list)
    reduced_candidate: ReducedCandidate | None = None
    reduction_error: StepFailure | None = None
    selected_candidate_ids: list[str] | None = None
    """Ids of the samples that the selector chose; None without a selector."""
    parsed_output: ParsedOutput | None = None
    """The value that the run's parser read from the reduced or only candidate."""
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
    """None if and only if the outcome is "error"."""
    candidate_id: str | None
    outcome: Outcome
    error_category: str | None = None
    """Why the row is an error. Beside a value: the model's failure that set the value without the
    metric (parse_failure, parse_null, undecided, refused), or the ending of an answer that was
    scored as usual (truncated, empty)."""
    error_message: str | None = None
    details: JSONObject = Field(default_factory=dict)


class CorpusValue(Model):
    """A metric's value over a whole run, computed from the cases' statistics, not from scores."""

    value: float | None = None
    """The value; None if it could not be computed, for the reason in ``failure``."""
    failure: str | None = None
    """Why there is no value."""
    signature: str | None = None
    """How the value is made, as its metric says it; a score's own may differ."""
    interval: list[float] | None = None
    """95 percent interval."""
    interval_failure: str | None = None
    """Why there is no interval, if a resample of the cases had no value."""
    interval_method: str | None = None
    """"bootstrap": percentiles over resampled cases."""
    resamples: int | None = None
    """Number of bootstrap resamples."""
    seed: int | None = None
    """Seed of the resampling."""
    n_cases: int = 0
    """Cases in the value."""
    n_rows: int = 0
    """Scored candidates in the value."""
    n_without: int = 0
    """Rows without statistics: errors, and scores set for a failure of the model's."""


class MetricSummary(Model):
    """A metric over a run. The mean is over cases; a case's score is the mean of its samples'."""

    metric_id: str
    mean: float | None
    """Mean over the scored cases; None if none was scored."""
    n_cases: int
    """Cases of the run."""
    n_cases_scored: int
    """Cases that have at least one scored row: the mean's denominator."""
    n_missing: int = 0
    """Cases that have no row of this metric yet."""
    n_scored: int
    """Rows that have a value."""
    n_errors: int
    """Rows without a value: errors, outside the mean."""
    n_unparsed: int
    """Rows whose candidate could not be parsed."""
    outcomes: dict[str, int] = Field(default_factory=dict)
    errors: dict[str, int] = Field(default_factory=dict)
    """Error rows by category."""
    failures: dict[str, int] = Field(default_factory=dict)
    """Rows with the score of an incorrect answer because of the model's failure, by category."""
    endings: dict[str, int] = Field(default_factory=dict)
    """Rows whose answer was refused, truncated or empty, whatever their score, by category."""
    bounds: list[float] | None = None
    """The mean if every error and every missing case had the lowest value, and if it had the
    highest; None without a value range."""
    variance: float | None = None
    """Sample variance (n - 1) of the cases' scores."""
    kind: Literal["binary", "value"] = "value"
    zero_or_one: bool = False
    """Whether a case is worth 0 or 1: its metric folds all its samples' binary scores into one."""
    value_range: list[float] | None = None
    higher_is_better: bool = True
    unit: str | None = None
    interval: list[float] | None = None
    """Confidence interval of the mean; filled in by analysis."""
    interval_method: str | None = None
    corpus: CorpusValue | None = None
    """The value over the whole run, for a corpus metric."""

    @property
    def value(self) -> float | None:
        """The headline figure: a corpus metric's value over the whole run, else the mean."""
        return self.mean if self.corpus is None else self.corpus.value

    @property
    def value_interval(self) -> list[float] | None:
        """The interval of ``value``."""
        return self.interval if self.corpus is None else self.corpus.interval

    @property
    def standard_error(self) -> float | None:
        """Standard error of ``value`` over cases; None of one case, and of a corpus value."""
        if self.corpus is not None or self.variance is None or self.n_cases_scored < _SEVERAL:
            return None
        return math.sqrt(self.variance / self.n_cases_scored)

    def plain(self) -> dict[str, Any]:
        """Return all figures as plain JSON data, null for those that are None."""
        return self.model_dump(mode="json")


class GroupSummary(Model):
    """The metrics over those cases of a run that share the values of some fields."""

    by: dict[str, str]
    """The fields and their values, as text: a dataset's id, or metadata; "(none)" without any."""
    n_cases: int
    metrics: list[MetricSummary] = Field(default_factory=list)


class StageProgress(Model):
    """Counts of one stage's steps so far."""

    done: int = 0
    reused: int = 0
    failed: int = 0


class ReportedModel(Model):
    """A model and system fingerprint that an endpoint reported, and in how many answers."""

    judge: str | None = None
    """The judge that was asked; None for the generator."""
    model: str | None
    system_fingerprint: str | None
    answers: int
    deviates: bool
    """Whether it differs from most answers of the same generator or judge."""


class RunProgress(Model):
    """A run's progress; every count is of committed events."""

    n_cases: int = 0
    cases_finished: int = 0
    cases_with_errors: int = 0
    stages: dict[str, StageProgress] = Field(default_factory=dict)
    renewed: int = 0
    """Steps made in the newest attempt in place of a result that was too old to be reused."""
    tokens: dict[str, int] = Field(default_factory=dict)
    """Tokens by kind (prompt_tokens, completion_tokens, ...) of the work done, reused steps left
    out."""
    tokens_reused: dict[str, int] = Field(default_factory=dict)
    """Tokens by kind that reused answers had used when they were made; they were not spent
    again."""
    cost_usd: float | None = 0.0
    """US dollars of the calls made whose price is known."""
    unpriced_calls: int = 0
    """Calls that used tokens at an unknown price; their cost is not in ``cost_usd``."""
    first_failure: str | None = None
    """Message of the failed step of the first case that has one."""
    latency_ms_sum: float = 0.0
    latency_ms: dict[str, float] = Field(default_factory=dict)
    """p50, p90, p99 and max in milliseconds of generations and judge calls made, each within one
    percent; empty where none was made."""
    first_token_ms: dict[str, float] = Field(default_factory=dict)
    """The same figures of the time to the first token, of streamed answers."""
    reported: list[ReportedModel] = Field(default_factory=list)
    """The models that endpoints reported, in reused answers too."""
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
        """Steps whose result was in the store already."""
        return sum(stage.reused for stage in self.stages.values())


class RunEstimate(Model):
    """How many steps, tokens and dollars a run would take, before it is run."""

    run_id: str
    n_cases: int
    steps: dict[str, int]
    """Steps by stage; a judged metric counts under "judge" once for each subject, however many
    judge calls it makes. With a selector, as many as if it chose every sample."""
    to_run: dict[str, int] = Field(default_factory=dict)
    """Of these, how many generations are not in the store."""
    prompt_tokens: int | None = None
    """Estimated prompt tokens of all generations that are not in the store; None if unknown."""
    output_tokens_at_most: int | None = None
    """Output tokens of these generations if each reaches its limit; None without a limit."""
    cost_usd: list[float] | None = None
    """US dollars of these generations: without any output, and with each at its limit (only the
    first number if there is no limit). None if the price is unknown."""
    notes: list[str] = Field(default_factory=list)


class ExecutionState(Model):
    """A run's state, computed from its journal."""

    run_id: str
    status: RunStatus
    attempt: int
    """Number of the newest attempt that is shown."""
    later_attempts: list[int] = Field(default_factory=list)
    """Numbers of later attempts, if the run is shown as of an earlier one (``RUN@n``)."""
    attempts: list[dict[str, Any]] = Field(default_factory=list)
    """Each attempt's number, mode, start, status and, if it was stopped early, reason."""
    reason: str | None = None
    """Why the newest attempt was stopped early; None if it was not."""
    completed_through_stage: str | None = None
    progress: RunProgress = Field(default_factory=RunProgress)
    notes: list[str] = Field(default_factory=list)
