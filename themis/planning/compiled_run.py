"""A run that is ready to be carried out: the snapshot and the live components behind its refs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from typing import Any

from themis.core.base import RunId
from themis.core.models import Dataset
from themis.core.pipeline import Pipeline
from themis.core.prompts import PromptSpec
from themis.core.snapshot import ComponentRef, MetricFacts, RunSnapshot
from themis.planning.capabilities import Capabilities


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundComponent:
    """A component reference and the object it stands for."""

    ref: ComponentRef
    component: Any
    capabilities: Capabilities
    """What it declares."""
    digest: bytes
    """16 bytes over what the component is; enters keys."""
    reads: frozenset[str]
    """The parts of the case that it is shown in this run; a parser is shown metadata at most."""
    code: str | None
    """Digest of its code; None for shipped components."""
    name: str = field(init=False)
    """The name it goes by in tables."""
    facts: MetricFacts = field(init=False)
    """What a metric's numbers mean."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.ref.name)
        object.__setattr__(self, "facts", self.ref.metric or MetricFacts())

    @property
    def behind(self) -> str:
        """Name of the class, or of the user's function, whose code it runs."""
        found: Any = self.capabilities.users_function
        while isinstance(found, partial):
            found = found.func
        if not hasattr(found, "__qualname__"):  # none, or an object that can be called
            found = type(self.component if found is None else found)
        return f"{found.__module__}.{found.__qualname__}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetManifest:
    """What compile saw of a dataset: enough to notice that it changed before the run."""

    fingerprint: str
    n_cases: int
    digests: bytearray
    """16 bytes a case, in order."""

    def digest_at(self, position: int) -> bytes:
        """Return the digest of the case at a position."""
        return bytes(self.digests[16 * position : 16 * position + 16])


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledRun:
    """All that execution needs to know, checked."""

    snapshot: RunSnapshot
    datasets: list[Dataset]
    manifests: list[DatasetManifest]
    generator: BoundComponent
    selector: BoundComponent | None
    reducer: BoundComponent | None
    parsers: Mapping[str, BoundComponent]
    """By name; every parser in use."""
    metrics: list[BoundComponent]
    judges: Mapping[str, BoundComponent]
    """By name, in the order given."""
    prompt: bytes
    """Digest of the generation's prompt material."""
    workflow: bytes
    """Digest of judge prompt spec, judge config and workflow overrides."""
    pipeline: Pipeline = field(init=False)
    """The steps of each of its cases."""

    def __post_init__(self) -> None:
        reads_parsed = self.reducer is not None and self.reducer.capabilities.reads_parsed
        pipeline = Pipeline(self.snapshot.identity, reads_parsed=reads_parsed)
        object.__setattr__(self, "pipeline", pipeline)

    @property
    def run_id(self) -> RunId:
        """Digest of the run's identity."""
        return self.snapshot.run_id

    @property
    def prompt_spec(self) -> PromptSpec | None:
        """The generation's prompt material."""
        return self.snapshot.identity.prompt_spec

    @property
    def default_parser(self) -> str | None:
        """Name of the run's own parser, which reducers read from."""
        return self.snapshot.identity.default_parser

    @property
    def judges_with_schemas(self) -> frozenset[str]:
        """Names of the judges that declare ``structured_output``: they are given a schema."""
        return frozenset(
            name for name, judge in self.judges.items() if judge.capabilities.structured_output
        )

    def duplicate_index(self, judge: BoundComponent) -> int:
        """Return how many judges before this one are equal to it in all but name.

        Two equal judges are two votes: they are asked apart.
        """
        before = takewhile(lambda name: name != judge.name, self.judges)
        return sum(self.judges[name].digest == judge.digest for name in before)

    def bounds(self) -> list[BoundComponent]:
        """Return every component of the run."""
        single = [one for one in (self.generator, self.selector, self.reducer) if one is not None]
        return [*single, *self.parsers.values(), *self.metrics, *self.judges.values()]

    def code(self) -> dict[str, str | None]:
        """Return the digest of each component's code, by "role:name"."""
        return {f"{one.ref.role}:{one.name}": one.code for one in self.bounds()}
