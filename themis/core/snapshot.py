"""What a run is: its identity (what was asked, hashed) and its provenance (where and how)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, Literal

from pydantic import Field

from themis.core.base import JSONObject, Model, RunId
from themis.core.hashing import digest_value
from themis.core.prompts import PromptSpec

Reads = Literal["input", "expected_output", "metadata"]
ALL_READS: tuple[Reads, ...] = ("expected_output", "input", "metadata")


class DatasetRef(Model):
    """A dataset as it was when the run was compiled."""

    dataset_id: str
    fingerprint: str
    """Digest of revision, metadata and the cases in order."""
    n_cases: int
    revision: str | None = None
    metadata: JSONObject = Field(default_factory=dict)


class ComponentRef(Model):
    """A component as it enters identity and keys."""

    role: Literal["generator", "selector", "reducer", "parser", "metric", "judge"]
    name: str
    """The id it goes by in this run's tables."""
    component_id: str
    version: str
    fingerprint: str
    params: JSONObject = Field(default_factory=dict)
    """What it was made with, where it was made from an id."""
    reads: list[str] = Field(default_factory=lambda: [str(part) for part in ALL_READS])
    """What of the case it is given, sorted."""
    parser: str | None = None
    """For a metric: name of the parser whose value it scores; None for the final output itself."""
    metric: MetricFacts | None = None


class MetricFacts(Model):
    """What a metric's numbers mean."""

    kind: Literal["binary", "value"] = "value"
    value_range: list[float] | None = None
    """Least and greatest value, where bounded."""
    higher_is_better: bool = True
    unit: str | None = None
    unparsed: Literal["incorrect", "error"] = "incorrect"
    subject: Literal["candidate", "candidates", "conversation", "trace"] = "candidate"
    """What is scored: one candidate, all of a case, or the way to one."""
    judged: bool = False
    scores_refusals: bool = False
    """Whether it is given what the model refused, as text; else a refusal is scored by rule."""
    of: str | None = None
    """For a candidate-set metric: name of the metric whose sample scores it folds."""
    corpus: bool = False
    """Whether its component has ``aggregate()``: a value of its own over the whole run."""


class RunIdentity(Model):
    """What was asked. Two runs with equal identities are one run."""

    datasets: list[DatasetRef]
    generator: ComponentRef
    selector: ComponentRef | None = None
    reducer: ComponentRef | None = None
    parsers: list[ComponentRef] = Field(default_factory=list)
    """Every parser in use, by the run or by a metric."""
    default_parser: str | None = None
    """Name of the run's own parser, which reducers and metrics without one read from."""
    metrics: list[ComponentRef] = Field(default_factory=list)
    judges: list[ComponentRef] = Field(default_factory=list)
    num_samples: int = 1
    prompt_spec: PromptSpec | None = None
    judge_prompt_spec: PromptSpec | None = None
    judge_config: JSONObject = Field(default_factory=dict)
    workflow_overrides: JSONObject = Field(default_factory=dict)
    seeds: list[int] = Field(default_factory=list)

    def asked(self) -> dict[str, Any]:
        """Return the identity as plain data.

        A field at its default is left out, so that a field added later does not change the ids of
        runs that do not use it. Whether a metric has a value over the whole run is left out too:
        id, version and fingerprint of its component say it already.
        """
        asked = self.model_dump(mode="json", exclude_defaults=True)
        for metric in asked.get("metrics", ()):
            if (facts := metric.get("metric")) is not None:
                facts.pop("corpus", None)
        return asked


class Provenance(Model):
    """Where and how an attempt ran. True of that attempt, and never part of identity."""

    themis: str
    python: str
    platform: str
    host: str
    at: float
    """Unix seconds."""
    git_commit: str | None = None
    git_dirty: bool | None = None
    dependencies: dict[str, str] = Field(default_factory=dict)
    store: str | None = None
    runtime: JSONObject = Field(default_factory=dict)
    environment: JSONObject = Field(default_factory=dict)
    """The experiment's ``environment_metadata``, secrets hidden."""
    code: dict[str, str | None] = Field(default_factory=dict)
    """Digest of each user component's code, by role and name; None for shipped components."""
    settings: dict[str, JSONObject] = Field(default_factory=dict)
    """What each component says its fingerprint covers, by role and name, secrets hidden: so that it
    can be told which setting changed. Identity has the fingerprint."""


class RunSnapshot(Model):
    """An experiment, compiled: immutable, and named by the hash of what was asked."""

    identity: RunIdentity
    provenance: Provenance
    """Of the compilation; each attempt records its own."""

    @cached_property
    def run_id(self) -> RunId:
        """32 hex digits over the identity."""
        return RunId(digest_value("run", self.identity.asked()).hex())

    @property
    def component_refs(self) -> dict[str, ComponentRef]:
        """Every component, by "role:name"."""
        return {f"{ref.role}:{ref.name}": ref for ref in self._refs()}

    @property
    def n_cases(self) -> int:
        """Cases of all datasets."""
        return sum(dataset.n_cases for dataset in self.identity.datasets)

    def metric(self, metric_id: str) -> ComponentRef:
        """Return the metric of that name.

        Raises:
            KeyError: the run has no such metric.
        """
        for ref in self.identity.metrics:
            if ref.name == metric_id:
                return ref
        raise KeyError(metric_id)

    def _refs(self) -> Iterator[ComponentRef]:
        identity = self.identity
        yield identity.generator
        yield from (ref for ref in (identity.selector, identity.reducer) if ref is not None)
        yield from identity.parsers
        yield from identity.metrics
        yield from identity.judges


ComponentRef.model_rebuild()
