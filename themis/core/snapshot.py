"""A run's snapshot: its identity, of which the run id is a hash, and its provenance."""

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
    """A component's part of a run's identity and keys."""

    role: Literal["generator", "selector", "reducer", "parser", "metric", "judge"]
    name: str
    """Its name in this run's tables."""
    component_id: str
    version: str
    fingerprint: str
    params: JSONObject = Field(default_factory=dict)
    """Its parameters, if it was given by id."""
    reads: list[str] = Field(default_factory=lambda: [str(part) for part in ALL_READS])
    """The parts of the case that it is given, sorted."""
    parser: str | None = None
    """For a metric: name of the parser whose value it scores; None for the final output itself."""
    metric: MetricFacts | None = None


class MetricFacts(Model):
    """What a metric declares about its numbers."""

    kind: Literal["binary", "value"] = "value"
    value_range: list[float] | None = None
    """Least and greatest value; None if unbounded."""
    higher_is_better: bool = True
    unit: str | None = None
    unparsed: Literal["incorrect", "error"] = "incorrect"
    subject: Literal["candidate", "candidates", "conversation", "trace"] = "candidate"
    """What is scored: a candidate, all candidates of a case, or a conversation or trace."""
    judged: bool = False
    scores_refusals: bool = False
    """Whether it is given refusals, as text; else a refusal counts as incorrect."""
    of: str | None = None
    """For a candidate-set metric: name of the metric whose sample scores it folds."""
    corpus: bool = False
    """Whether its component has ``aggregate()``, which gives a value over the whole run."""


class RunIdentity(Model):
    """What was asked: datasets, components, prompts, seeds. Equal identities are the same run."""

    datasets: list[DatasetRef]
    generator: ComponentRef
    selector: ComponentRef | None = None
    reducer: ComponentRef | None = None
    parsers: list[ComponentRef] = Field(default_factory=list)
    """Every parser in use, by the run or by a metric."""
    default_parser: str | None = None
    """Name of the run's parser, for reducers and for metrics without a parser of their own."""
    metrics: list[ComponentRef] = Field(default_factory=list)
    judges: list[ComponentRef] = Field(default_factory=list)
    num_samples: int = 1
    prompt_spec: PromptSpec | None = None
    judge_prompt_spec: PromptSpec | None = None
    judge_config: JSONObject = Field(default_factory=dict)
    workflow_overrides: JSONObject = Field(default_factory=dict)
    seeds: list[int] = Field(default_factory=list)

    def components(self) -> Iterator[ComponentRef]:
        """Yield every component."""
        yield self.generator
        yield from (ref for ref in (self.selector, self.reducer) if ref is not None)
        yield from self.parsers
        yield from self.metrics
        yield from self.judges

    def placed_datasets(self) -> Iterator[tuple[int, DatasetRef]]:
        """Yield each dataset with the position of its first case in the run."""
        first = 0
        for dataset in self.datasets:
            yield first, dataset
            first += dataset.n_cases

    def asked(self) -> dict[str, Any]:
        """Return the identity as plain data, as the run id hashes it.

        A field at its default is left out, so that a field added later does not change the ids of
        runs that do not use it. Whether a metric has a value over the whole run is left out too:
        id, version and fingerprint of its component say it already.
        """
        said_already = {"metrics": {"__all__": {"metric": {"corpus"}}}}
        return self.model_dump(mode="json", exclude_defaults=True, exclude=said_already)


class Provenance(Model):
    """Where and how an attempt ran. It is recorded with the attempt and is no part of identity."""

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
    """The settings that each component's fingerprint covers, by role and name, secrets hidden. They
    show which setting changed; the identity has the fingerprint alone."""


class RunSnapshot(Model):
    """An experiment, compiled: immutable, and named by the hash of what was asked."""

    identity: RunIdentity
    provenance: Provenance
    """Provenance of the compilation; each attempt records its own."""

    @cached_property
    def run_id(self) -> RunId:
        """32 hex digits over the identity."""
        return RunId(digest_value("run", self.identity.asked()).hex())

    @property
    def component_refs(self) -> dict[str, ComponentRef]:
        """Every component, by "role:name"."""
        return {f"{ref.role}:{ref.name}": ref for ref in self.identity.components()}

    @property
    def n_cases(self) -> int:
        """Cases of all datasets."""
        return sum(dataset.n_cases for dataset in self.identity.datasets)


ComponentRef.model_rebuild()
