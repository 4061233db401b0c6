"""The parts of an experiment's configuration. Components are checked when it is compiled."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias
from unicodedata import category

from pydantic import AfterValidator, Field, field_validator

from themis.core.base import JSONObject, Model
from themis.core.errors import DefinitionError
from themis.core.events import Stage
from themis.core.field_types import (
    Count,
    NotNegative,
    Timeout,
    at_least_one,
    check_keys,
    known_keys,
)
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
    """A component with parameters and, to tell two uses apart, a name. Made by ``use``."""

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
        name: its id in tables; needed where a run uses the same component twice.
        parser: for a metric, the parser it reads from, in place of the run's.
        **params: arguments of the component.

    Example:
        ``use("builtin/llm_rubric", rubric="Is it polite?", name="polite")``
    """
    return ComponentUse(use=component, params=params, name=name, parser=parser)


POLICY_KEYS = frozenset({"num_samples"})


def _num_samples(policy: dict[str, Any]) -> dict[str, Any]:
    at_least_one(policy.get("num_samples", 1), key="num_samples")
    return policy


class GenerationConfig(Model):
    """The generator, the number of samples, and how samples are selected and reduced."""

    generator: GeneratorLike
    """An id, an import path, ``use(...)``, or an object with the Generator protocol."""
    candidate_policy: Annotated[
        dict[str, Any], known_keys(POLICY_KEYS), AfterValidator(_num_samples)
    ] = Field(default_factory=dict)
    """``{"num_samples": n}``; one sample by default."""
    prompt_spec: PromptSpec | None = None
    """Prompt material, part of identity."""
    selector: SelectorLike | None = None
    """Chooses among the samples before reduction."""
    reducer: ReducerLike | None = None
    """Makes one candidate of several. Without one, each sample is parsed and scored."""

    @property
    def num_samples(self) -> int:
        """Samples a case."""
        samples: int = self.candidate_policy.get("num_samples", 1)
        return samples


class EvaluationConfig(Model):
    """The parser, the metrics and the judges."""

    metrics: list[MetricLike] = Field(default_factory=list)
    """Metrics; none is valid: the run then generates and scores nothing."""
    parsers: list[ParserLike] = Field(default_factory=list)
    """The run's parser, at most one; without it a metric is given the final output unchanged."""
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
    """The store's own parameters, such as ``path`` for "sqlite"; unknown ones are refused."""


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


_FORM = re.compile(r"([0-9]{1,9})([smhd])")


def seconds_in(duration: str, field: str) -> int:
    """Return the seconds of a duration: a whole number above 0 and a unit, s, m, h or d.

    Args:
        duration: as in "90s", "45m", "24h" or "7d".
        field: the setting's name, for the message.

    Raises:
        DefinitionError: it is not of this form.
    """
    found = _FORM.fullmatch(duration)
    seconds = 0 if found is None else int(found[1]) * _UNITS[found[2]]
    if not seconds:
        raise DefinitionError(
            f"{field} = {duration!r}: a duration is a whole number above 0 and one unit, "
            "s, m, h or d, as in '24h'",
            field=field,
            value=duration,
        )
    return seconds


def reusable_seconds(reuse: str) -> int | None:
    """Return the greatest age in seconds of a reusable result: 0 reuses none, None any.

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


def _reusable(reuse: str) -> str:
    reusable_seconds(reuse)
    return reuse


RATE_KEYS = frozenset({"requests_per_minute", "tokens_per_minute"})
BUDGET_KEYS = frozenset({"tokens", "dollars", "seconds"})
PRICE_KEYS = frozenset({"input", "output", "cached_input"})
STAGE_NAMES = tuple(stage.value for stage in Stage)


def _rates(limit: int | dict[str, int]) -> int | dict[str, int]:
    if isinstance(limit, int):
        return at_least_one(limit)
    check_keys(limit, RATE_KEYS)
    for key, number in limit.items():
        at_least_one(number, key=key)
    return limit


def _amounts(budget: dict[str, float]) -> dict[str, float]:
    for key, amount in budget.items():
        if amount <= 0:
            raise DefinitionError(
                f"value.{key} = {amount!r}: must be above 0; leave it out for no limit",
                value=amount,
            )
    tokens = budget.get("tokens", 1)
    if tokens != int(tokens):
        raise DefinitionError(f"value.tokens = {tokens!r}: must be an integer", value=tokens)
    return budget


def _both_prices(price: dict[str, float]) -> dict[str, float]:
    for key in ("input", "output"):
        if key not in price:
            raise DefinitionError(f"value has no '{key}': give US dollars for a million tokens")
    return price


RateLimit = Annotated[int | dict[str, int], AfterValidator(_rates)]
"""Requests a minute, or ``{"requests_per_minute": n, "tokens_per_minute": n}``."""
Budget = Annotated[dict[str, float], known_keys(BUDGET_KEYS), AfterValidator(_amounts)]
TokenPrice = Annotated[dict[str, NotNegative], known_keys(PRICE_KEYS), AfterValidator(_both_prices)]


class RuntimeConfig(Model):
    """How a run is carried out. Nothing here is part of its identity."""

    max_concurrent_tasks: Count = 32
    """How many cases, and how many calls, may be in flight at once."""
    stage_concurrency: Annotated[dict[str, Count], known_keys(STAGE_NAMES, what="stage")] = Field(
        default_factory=dict
    )
    """How many calls may be in flight at once, by stage ("generate", "judge", ...)."""
    provider_concurrency: dict[str, Count] = Field(default_factory=dict)
    """How many calls may be in flight at once, by ``provider_key``."""
    provider_rate_limits: dict[str, RateLimit] = Field(default_factory=dict)
    """Limits a minute, by ``provider_key``."""
    generation_timeout: Timeout | None = 600.0
    """Seconds for one try of a generation."""
    judge_timeout: Timeout | None = 600.0
    """Seconds for one try of a judge call."""
    generation_retry_attempts: Count = 4
    """Tries in all, the first included."""
    generation_retry_delay: NotNegative = 1.0
    """Seconds before the second try."""
    generation_retry_backoff: NotNegative = 2.0
    """Factor from one delay to the next."""
    judge_retry_attempts: Count = 4
    judge_retry_delay: NotNegative = 1.0
    judge_retry_backoff: NotNegative = 2.0
    longest_pause: Timeout | None = 3600.0
    """Seconds that an endpoint may ask to wait before its next call (``Retry-After``, reset times).
    Asked for more, the run stops and can be resumed; None waits for as long as it is asked to."""
    cpu_workers: Count | None = None
    """Worker processes for ``cpu_bound`` parsers and metrics at most; None for as many as there are
    processors."""
    cpu_timeout: Timeout | None = 60.0
    """Seconds for one call in a worker process, unless the component declares its own
    ``cpu_timeout``. After that the process is ended."""
    store_retry_attempts: Count = 4
    """Tries of a write to a store that is unavailable, the first included."""
    store_retry_delay: NotNegative = 0.5
    """Seconds between these tries."""
    existing_run_policy: Literal["auto", "error", "rerun"] = "auto"
    """If the run exists: "auto" reuses its results and does the rest, "error" refuses, "rerun" does
    every step again."""
    reuse: Annotated[str, AfterValidator(_reusable)] = "all"
    """Which earlier results ``run`` may reuse, of this run or another: "all"; "none"; or a duration
    ("90s", "45m", "24h", "7d"), for results that are not older than that when the attempt begins.
    Other results are made again and superseded. A resumed attempt keeps the limit with which it
    began."""
    owner_wait: NotNegative | None = 0.0
    """Seconds to wait for another process that works on the run: 0 refuses at once, None waits for
    as long as it takes. Where it is not known whether it still lives (on another machine, in
    another container), half a minute goes by to find out."""
    drain_timeout: NotNegative = 30.0
    """Seconds after Ctrl-C in which calls in flight may finish."""
    budget: Budget | None = None
    """What the run may spend at most, over all its attempts: "tokens", "dollars", "seconds".

    A rerun, replay or rejudge has a whole budget of its own.
    """
    prices: dict[str, TokenPrice] = Field(default_factory=dict)
    """Your own prices, by model or ``provider_key``: US dollars for a million tokens of "input",
    "output" and, where it differs, "cached_input". They take precedence over the price list."""
