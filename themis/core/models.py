"""What the user hands in and what components hand back: cases, datasets, results of each stage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, Self

from pydantic import Field, PrivateAttr, field_validator

from themis.core.base import JSONObject, JSONValue, Model
from themis.core.errors import DefinitionError


class Case(Model):
    """One thing to be answered, and what a right answer is."""

    case_id: str
    """Unique within its dataset."""
    input: JSONValue
    """What the generator is given: text, chat messages, or any JSON value."""
    expected_output: JSONValue = None
    """The gold answer, where there is one."""
    metadata: JSONObject = Field(default_factory=dict)
    """Further facts about the case, for templates, metrics and slices."""

    @field_validator("case_id")
    @classmethod
    def _named(cls, value: str) -> str:
        if not value:
            raise ValueError("a case needs a non-empty case_id")
        return value


class CaseSource(Protocol):
    """A place cases are read from, more than once, in the same order each time."""

    def __iter__(self) -> Iterator[Case]:
        """Yield the cases from the first one on."""
        ...


class Dataset(Model):
    """An ordered set of cases under one name.

    Cases are given as a list, or come lazily from a file (``from_jsonl``, ``from_csv``). Iterating
    a dataset yields its cases either way.
    """

    dataset_id: str
    cases: list[Case] = Field(default_factory=list)
    """The cases, where they are held in memory; empty for a lazy source."""
    revision: str | None = None
    """Version of the data, where its publisher names one."""
    metadata: JSONObject = Field(default_factory=dict)
    _source: CaseSource | None = PrivateAttr(default=None)

    @field_validator("dataset_id")
    @classmethod
    def _named(cls, value: str) -> str:
        if not value:
            raise ValueError("a dataset needs a non-empty dataset_id")
        return value

    def __iter__(self) -> Iterator[Case]:  # type: ignore[override]  # cases, not pydantic's fields
        """Yield the cases in order."""
        return iter(self.cases if self._source is None else self._source)

    @classmethod
    def from_source(
        cls, source: CaseSource, *, dataset_id: str, revision: str | None = None
    ) -> Self:
        """Return a dataset that reads its cases from ``source`` whenever it is iterated."""
        made = cls(dataset_id=dataset_id, revision=revision)
        made._source = source
        return made

    @classmethod
    def from_jsonl(
        cls,
        path: str,
        *,
        input: str = "input",  # noqa: A002 - the field's own name
        expected_output: str | None = "expected_output",
        case_id: str | None = "case_id",
        dataset_id: str | None = None,
        revision: str | None = None,
    ) -> Self:
        """Return a dataset over a JSON Lines file, read lazily.

        Args:
            path: the file; one JSON object a line.
            input: key of the input.
            expected_output: key of the gold answer, None for none.
            case_id: key of the case id; where a line lacks it, the line's number is the id.
            dataset_id: name of the dataset; the file's stem by default.
            revision: version of the data.
        """
        return cls._read("jsonl", path, input, expected_output, case_id, dataset_id, revision)

    @classmethod
    def from_csv(
        cls,
        path: str,
        *,
        input: str = "input",  # noqa: A002 - the field's own name
        expected_output: str | None = "expected_output",
        case_id: str | None = "case_id",
        dataset_id: str | None = None,
        revision: str | None = None,
    ) -> Self:
        """Return a dataset over a CSV file with a header line, read lazily; values are text."""
        return cls._read("csv", path, input, expected_output, case_id, dataset_id, revision)

    @classmethod
    def _read(
        cls,
        form: str,
        path: str,
        input_key: str,
        expected_key: str | None,
        id_key: str | None,
        dataset_id: str | None,
        revision: str | None,
    ) -> Self:
        # The reader lives above core and is reached by name, as catalog components are.
        from importlib import import_module

        sources: Any = import_module("themis.catalog.sources")
        source = sources.FileSource(
            path=path, form=form, input_key=input_key, expected_key=expected_key, id_key=id_key
        )
        return cls.from_source(source, dataset_id=dataset_id or source.stem, revision=revision)

    def take(self, n: int) -> Dataset:
        """Return a dataset of the first ``n`` cases."""
        if n < 0:
            raise DefinitionError(f"take({n}): the number of cases cannot be negative", value=n)
        return self._of(case for _, case in zip(range(n), self, strict=False))

    def filter(self, fn: Callable[[Case], bool]) -> Dataset:
        """Return a dataset of the cases for which ``fn`` is true."""
        return self._of(case for case in self if fn(case))

    def sample(self, n: int, *, seed: int) -> Dataset:
        """Return ``n`` cases drawn without replacement, in dataset order; fixed by ``seed``."""
        from random import Random

        cases = list(self)
        if not 0 <= n <= len(cases):
            raise DefinitionError(f"sample({n}) of {len(cases)} cases", value=n)
        chosen = sorted(Random(seed).sample(range(len(cases)), n))
        return self._of(cases[index] for index in chosen)

    def _of(self, cases: Iterable[Case]) -> Dataset:
        return Dataset(
            dataset_id=self.dataset_id,
            cases=list(cases),
            revision=self.revision,
            metadata=self.metadata,
        )


class Message(Model):
    """One turn of a conversation."""

    role: str
    content: JSONValue


class TraceStep(Model):
    """One step a generator took on the way to its output."""

    step_name: str
    step_type: str
    input: JSONValue = Field(default_factory=dict)
    output: JSONValue = Field(default_factory=dict)
    metadata: JSONObject = Field(default_factory=dict)
    timestamp: float | str | None = None
    """Unix seconds, or ISO 8601 text."""


class GenerationResult(Model):
    """What a generator gives for one sample of one case."""

    candidate_id: str
    """Any name; Themis makes it unique across samples."""
    final_output: JSONValue
    trace: list[TraceStep] | None = None
    conversation: list[Message] | None = None
    artifacts: JSONObject | None = None
    """Evidence: request, raw response, headers. Kept, never part of a key."""
    token_usage: dict[str, int] | None = None
    """``prompt_tokens``, ``completion_tokens``; ``cached_tokens``, ``reasoning_tokens``."""
    latency_ms: float | None = None
    """Milliseconds from request to the whole answer."""


class ReducedCandidate(Model):
    """One candidate made of several samples."""

    candidate_id: str
    source_candidate_ids: list[str]
    final_output: JSONValue
    metadata: JSONObject = Field(default_factory=dict)


class ParsedOutput(Model):
    """What a parser read out of a candidate's final output."""

    value: JSONValue
    format: str | None = None
    metadata: JSONObject = Field(default_factory=dict)


class Score(Model):
    """What a metric gives: a finite number, or a bool counted as 0 or 1."""

    metric_id: str
    value: float | bool
    details: JSONObject = Field(default_factory=dict)


class ScoreError(Model):
    """What a metric gives when it cannot score: a row of its own, outside the mean."""

    metric_id: str
    reason: str
    retryable: bool = False
    details: JSONObject = Field(default_factory=dict)


class WorkflowTrace(Model):
    """The steps a generator took, under one id."""

    trace_id: str
    steps: list[TraceStep]


class ConversationTrace(Model):
    """The messages a generator exchanged, under one id."""

    trace_id: str
    messages: list[Message]
