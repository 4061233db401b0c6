"""What a run is made of, as the user writes it. Meaning is checked when the run is compiled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from unicodedata import category

from pydantic import Field, field_validator, model_validator

from themis.core.base import JSONObject, Model
from themis.core.durations import seconds_in
from themis.core.errors import DefinitionError, did_you_mean
from themis.core.prompts import PromptSpec

if TYPE_CHECKING:
    from themis.core import protocols as seam

    GeneratorLike: TypeAlias = "str | ComponentUse | seam.Generator"
    SelectorLike: TypeAlias = "str | ComponentUse | seam.CandidateSelector"
    ReducerLike: TypeAlias = "str | ComponentUse | seam.CandidateReducer"
    ParserLike: TypeAlias = "str | ComponentUse | seam.Parser"
    MetricLike: TypeAlias = "str | ComponentUse | seam.Metric"
    JudgeLike: TypeAlias = "str | ComponentUse | seam.JudgeModel"
else:
    GeneratorLike = SelectorLike = ReducerLike = ParserLike = MetricLike = JudgeLike = Any


_UNSHOWABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode's categories of characters that would break a table's line, or cannot be written."""


class ComponentUse(Model):
    """A component with parameters and, where two stand side by side, a name. Made by ``use``."""

    use: str
    """A catalog id ("builtin/exact_match") or an import path ("pkg.module:factory")."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the component; checked against its signature, part of its key."""
    name: str | None = None
    """Its id in tables; unique within the run."""
    parser: Any = None
    """For a metric: the parser whose value it scores, in place of the run's."""

    @field_validator("name")
    @classmethod
    def _showable(cls, value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise DefinitionError(
                f"value = {value!r}: a name is text; leave it out to go by the component's id",
                field="name",
                value=value,
            )
        if value is not None and any(category(one) in _UNSHOWABLE for one in value):
            raise DefinitionError(
                f"value = {value!r}: a name stands in tables and has no control characters",
                field="name",
                value=value,
            )
        return value


def use(
    component: str, *, name: str | None = None, parser: ParserLike | None = None, **params: Any
) -> ComponentUse:
    """Return a parameterised use of a component.

    Args:
        component: a catalog id, a plug-in's id, or an import path "pkg.module:factory".
        name: the id it goes by in tables, where it stands beside another use of the same.
        parser: for a metric, the parser it reads from, in place of the run's.
        **params: arguments of the component.

    Example:
        ``use("builtin/llm_rubric", rubric="Is it polite?", name="polite")``
    """
    return ComponentUse(use=component, params=params, name=name, parser=parser)


POLICY_KEYS = frozenset({"num_samples"})


class GenerationConfig(Model):
    """What produces candidates, how many a case, and what becomes of them."""

    generator: GeneratorLike
    """An id, an import path, ``use(...)``, or an object with the Generator protocol."""
    candidate_policy: dict[str, Any] = Field(default_factory=dict)
    """``{"num_samples": n}``; one sample by default."""
    prompt_spec: PromptSpec | None = None
    """Prompt material, part of identity."""
    selector: SelectorLike | None = None
    """Chooses among the samples before reduction."""
    reducer: ReducerLike | None = None
    """Makes one candidate of several. Without one, each sample is parsed and scored."""

    @field_validator("candidate_policy")
    @classmethod
    def _policy(cls, value: dict[str, Any]) -> dict[str, Any]:
        for key in value:
            if key not in POLICY_KEYS:
                raise DefinitionError(
                    f"candidate_policy has no key '{key}'{did_you_mean(str(key), POLICY_KEYS)}",
                    field="candidate_policy",
                    value=key,
                )
        samples = value.get("num_samples", 1)
        if type(samples) is not int or samples < 1:
            raise DefinitionError(
                f"candidate_policy.num_samples = {samples!r}: must be an integer of at least 1",
                field="candidate_policy.num_samples",
                value=samples,
            )
        return value

    @property
    def num_samples(self) -> int:
        """Samples a case."""
        samples: int = self.candidate_policy.get("num_samples", 1)
        return samples


class EvaluationConfig(Model):
    """What is read out of candidates, how it is scored, and who judges."""

    metrics: list[MetricLike] = Field(default_factory=list)
    """Metrics; none is valid: the run then generates and scores nothing."""
    parsers: list[ParserLike] = Field(default_factory=list)
    """At most one; without one a metric sees the final output as it is."""
    judge_models: list[JudgeLike] = Field(default_factory=list)
    """Judges, by name; a judged metric uses all, or those it names."""
    prompt_spec: PromptSpec | None = None
    """Prompt material for the judges, part of identity."""
    judge_config: JSONObject = Field(default_factory=dict)
    """Settings that judged metrics read, part of identity."""
    workflow_overrides: JSONObject = Field(default_factory=dict)
    """Settings by metric id that its workflow reads, part of identity."""

    @field_validator("parsers")
    @classmethod
    def _one(cls, value: list[Any]) -> list[Any]:
        if len(value) > 1:
            raise DefinitionError(
                f"parsers holds {len(value)}, but a run has at most one; "
                "give a metric its own with use(metric, parser=...)",
                field="parsers",
            )
        return value


class StorageConfig(Model):
    """Where a run is kept."""

    store: str
    """"memory", "sqlite", a registered name, or the id of an installed package's store."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """The store's own parameters, such as ``path`` of "sqlite"; checked against it."""


RateLimit = int | dict[str, int]
"""Requests a minute, or ``{"requests_per_minute": n, "tokens_per_minute": n}``."""

RATE_KEYS = frozenset({"requests_per_minute", "tokens_per_minute"})
BUDGET_KEYS = frozenset({"tokens", "dollars", "seconds"})
PRICE_KEYS = frozenset({"input", "output", "cached_input"})
STAGE_NAMES = ("generate", "select", "reduce", "parse", "score", "judge")


class RuntimeConfig(Model):
    """How a run is carried out. Nothing here is part of its identity."""

    max_concurrent_tasks: int = 32
    """Cases in flight, and calls in flight, at most."""
    stage_concurrency: dict[str, int] = Field(default_factory=dict)
    """Calls in flight at most, by stage ("generate", "judge", ...)."""
    provider_concurrency: dict[str, int] = Field(default_factory=dict)
    """Calls in flight at most, by ``provider_key``."""
    provider_rate_limits: dict[str, RateLimit] = Field(default_factory=dict)
    """Limits a minute, by ``provider_key``."""
    generation_timeout: float | None = 600.0
    """Seconds for one try of a generation."""
    judge_timeout: float | None = 600.0
    """Seconds for one try of a judge call."""
    generation_retry_attempts: int = 4
    """Tries in all, the first included."""
    generation_retry_delay: float = 1.0
    """Seconds before the second try."""
    generation_retry_backoff: float = 2.0
    """Factor from one delay to the next."""
    judge_retry_attempts: int = 4
    judge_retry_delay: float = 1.0
    judge_retry_backoff: float = 2.0
    cpu_workers: int | None = None
    """Worker processes for ``cpu_bound`` parsers and metrics at most; None for as many as there are
    processors."""
    cpu_timeout: float | None = 60.0
    """Seconds for one call in a worker process, where the component does not declare its own
    ``cpu_timeout``; then the process is ended."""
    store_retry_attempts: int = 4
    """Tries of a write to a store that is away."""
    store_retry_delay: float = 0.5
    """Seconds between them."""
    existing_run_policy: Literal["auto", "error", "rerun"] = "auto"
    """auto: reuse what is done and do the rest; error: refuse; rerun: really run again."""
    reuse: str = "all"
    """What ``run`` may reuse of work done before, in this run or another: "all"; "none", so that
    nothing made before this attempt counts; or a duration ("90s", "45m", "24h", "7d"), so that
    nothing counts that is older than that when the attempt begins. What does not count is made
    again and superseded. An attempt that is gone on with keeps the bound that it began with."""
    owner_wait: float | None = 0.0
    """Seconds to wait for another process that works on the run: 0 refuses at once, None waits for
    as long as it takes."""
    drain_timeout: float = 30.0
    """Seconds that calls in flight are given after Ctrl-C."""
    budget: dict[str, float] | None = None
    """What the run may spend at most, over all its attempts: "tokens", "dollars", "seconds".

    A rerun, replay or rejudge has the whole of it for itself.
    """
    prices: dict[str, dict[str, float]] = Field(default_factory=dict)
    """Your own prices, by model or ``provider_key``: US dollars for a million tokens of "input",
    "output" and, where it differs, "cached_input". They come before the price list's."""

    @model_validator(mode="after")
    def _sane(self) -> RuntimeConfig:
        self._check_counts()
        reusable_seconds(self.reuse)
        for name in ("stage_concurrency", "provider_concurrency"):
            for key, limit in getattr(self, name).items():
                _at_least_one(f"{name}.{key}", limit)
        for stage in self.stage_concurrency:
            if stage not in STAGE_NAMES:
                raise DefinitionError(
                    f"stage_concurrency has no stage '{stage}'{did_you_mean(stage, STAGE_NAMES)}",
                    field="stage_concurrency",
                )
        for provider, limit in self.provider_rate_limits.items():
            self._check_rate(f"provider_rate_limits.{provider}", limit)
        for key, number in (self.budget or {}).items():
            _known("budget", key, BUDGET_KEYS)
            _positive(f"budget.{key}", number, whole=key == "tokens")
        for model, price in self.prices.items():
            _check_price(f"prices.{model}", price)
        return self

    def _check_counts(self) -> None:
        for name in (
            "max_concurrent_tasks",
            "generation_retry_attempts",
            "judge_retry_attempts",
            "store_retry_attempts",
        ):
            _at_least_one(name, getattr(self, name))
        if self.cpu_workers is not None:
            _at_least_one("cpu_workers", self.cpu_workers)
        for name in ("generation_timeout", "judge_timeout", "cpu_timeout"):
            seconds = getattr(self, name)
            if seconds is not None and not seconds > 0:
                raise DefinitionError(
                    f"{name} = {seconds!r}: must be above 0 seconds, or None", field=name
                )
        for name in (
            "generation_retry_delay",
            "judge_retry_delay",
            "store_retry_delay",
            "generation_retry_backoff",
            "judge_retry_backoff",
            "owner_wait",
            "drain_timeout",
        ):
            number = getattr(self, name)
            if number is not None and (number < 0 or not math.isfinite(number)):
                raise DefinitionError(f"{name} = {number!r}: must not be negative", field=name)

    @staticmethod
    def _check_rate(where: str, limit: RateLimit) -> None:
        limits: Mapping[str, int] = (
            limit if isinstance(limit, dict) else {"requests_per_minute": limit}
        )
        for key, number in limits.items():
            _known(where, key, RATE_KEYS)
            _at_least_one(f"{where}.{key}", number)


def reusable_seconds(reuse: str) -> int | None:
    """Return how old, in seconds, what is reused may be at most: 0 for nothing, None for any age.

    Raises:
        DefinitionError: it is neither "all" nor "none" nor a duration.
    """
    if reuse == "all":
        return None
    if reuse == "none":
        return 0
    try:
        return seconds_in(str(reuse), "reuse")
    except DefinitionError as error:
        raise DefinitionError(f"{error}; or 'all', or 'none'", field="reuse", value=reuse) from None


def _at_least_one(name: str, number: int) -> None:
    if number < 1:
        raise DefinitionError(
            f"{name} = {number}: must be an integer of at least 1", field=name, value=number
        )


def _known(where: str, key: str, keys: frozenset[str]) -> None:
    if key not in keys:
        raise DefinitionError(f"{where} has no key '{key}'{did_you_mean(key, keys)}", field=where)


def _positive(name: str, number: float, *, whole: bool) -> None:
    if not (math.isfinite(number) and number > 0):
        raise DefinitionError(
            f"{name} = {number!r}: must be above 0; leave it out for no limit",
            field=name,
            value=number,
        )
    if whole and number != int(number):
        raise DefinitionError(f"{name} = {number!r}: must be an integer", field=name, value=number)


def _check_price(where: str, price: Mapping[str, float]) -> None:
    for key, number in price.items():
        _known(where, key, PRICE_KEYS)
        if not (math.isfinite(number) and number >= 0):
            raise DefinitionError(f"{where}.{key} = {number!r}: must not be negative", field=where)
    for key in ("input", "output"):
        if key not in price:
            raise DefinitionError(
                f"{where} has no '{key}': give US dollars for a million tokens", field=where
            )
