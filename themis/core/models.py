"""Cases and datasets, and what components return: generations, parsed values, scores, traces."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from operator import attrgetter
from typing import Any, Protocol, Self

from pydantic import Field, PrivateAttr, field_validator

from themis.core.base import JSONObject, JSONValue, Model
from themis.core.errors import DefinitionError
from themis.core.subsets import Filtered, Head, Sample

FromRecord = Callable[[dict[str, Any]], Any]
"""A function that computes a field of a case from a record of a data file."""
KeyOf = str | Sequence[str] | FromRecord
"""Where a field of a case comes from in a record: a key, several keys, or a function."""


class Case(Model):
    """One item of a dataset: an input and, where there is one, the expected output."""

    case_id: str
    """Unique within its dataset."""
    input: JSONValue
    """The generator's input: text, chat messages, or any JSON value."""
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
    """A source of cases that can be iterated repeatedly, in the same order each time."""

    def __iter__(self) -> Iterator[Case]:
        """Yield the cases from the first one on."""
        ...


class Dataset(Model):
    """An ordered set of cases under one name.

    Cases are given as a list, or come lazily from a file or another source (``from_jsonl``,
    ``from_json``, ``from_csv``, ``from_parquet``, ``from_huggingface``, ``from_source``): then they
    are read again in each pass and not kept in memory. Iterating yields them either way.
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
        cls,
        source: Iterable[Case | Mapping[str, Any]] | Callable[[], Iterable[Any]],
        *,
        dataset_id: str,
        revision: str | None = None,
    ) -> Self:
        """Return a dataset that reads its cases from ``source`` whenever it is iterated.

        Args:
            source: an iterable of cases, or of mappings with a case's fields; or a function that
                returns one, called at each pass. An iterator (a generator object, say) can be read
                once: it is kept in a temporary file while it is read, which is removed with the
                dataset.
            dataset_id: name of the dataset.
            revision: version of the data.

        Raises:
            DefinitionError: ``source`` is none of these.
        """
        return cls._over(_sources().again(source), dataset_id, revision)

    @classmethod
    def from_jsonl(
        cls,
        path: str | os.PathLike[str],
        *,
        input: KeyOf = "input",  # noqa: A002 - the field's own name
        expected_output: KeyOf | None = "expected_output",
        case_id: str | FromRecord | None = "case_id",
        metadata_keys: Sequence[str] | None = None,
        dataset_id: str | None = None,
        revision: str | None = None,
    ) -> Self:
        """Return a dataset over a JSON Lines file, read lazily.

        Args:
            path: the file, compressed (.gz, .zst) or not; one JSON object a line.
            input: the input: a key; a list of keys, for an object of these; or a function of the
                record, which is given a dict that it may change.
            expected_output: the gold answer, given likewise; None for none. A case whose record
                lacks the key has no gold answer; the keys of a list must all be there.
            case_id: the case id: a key or a function. A record without it is named by a digest of
                its input, with "#2" appended for the second of equal inputs.
            metadata_keys: the keys that become the case's metadata; None for all that are neither
                input, gold answer nor id, without values that are no JSON (bytes, NaN). Dates and
                times become ISO 8601 text.
            dataset_id: name of the dataset; by default the file's name without its extension.
            revision: version of the data.

        Raises:
            DefinitionError: there is no such file. When it is read: a line is no JSON object, lacks
                a key, or holds what is not JSON; the message names file, line and key.
        """
        mapping = _mapping(input, expected_output, case_id, metadata_keys)
        source = _sources().file_source(path, "jsonl", **mapping)
        return cls._over(source, dataset_id or source.name, revision)

    @classmethod
    def from_json(
        cls,
        path: str | os.PathLike[str],
        *,
        input: KeyOf = "input",  # noqa: A002 - the field's own name
        expected_output: KeyOf | None = "expected_output",
        case_id: str | FromRecord | None = "case_id",
        metadata_keys: Sequence[str] | None = None,
        dataset_id: str | None = None,
        revision: str | None = None,
    ) -> Self:
        """Return a dataset over a JSON file that holds one array of objects, read whole each time.

        Arguments are those of ``from_jsonl``, which is the form for what is larger than memory.
        """
        mapping = _mapping(input, expected_output, case_id, metadata_keys)
        source = _sources().file_source(path, "json", **mapping)
        return cls._over(source, dataset_id or source.name, revision)

    @classmethod
    def from_csv(
        cls,
        path: str | os.PathLike[str],
        *,
        input: KeyOf = "input",  # noqa: A002 - the field's own name
        expected_output: KeyOf | None = "expected_output",
        case_id: str | FromRecord | None = "case_id",
        metadata_keys: Sequence[str] | None = None,
        dataset_id: str | None = None,
        revision: str | None = None,
        delimiter: str | None = None,
        encoding: str | None = None,
    ) -> Self:
        """Return a dataset over a CSV file with a header line, read lazily.

        Every value is text; an empty cell is an empty text. Arguments are those of ``from_jsonl``,
        and ``delimiter``, the one character between two cells (by default a tab in a file whose
        name ends in ".tsv", else a comma), and ``encoding``, the text's encoding by Python's name,
        such as "latin-1" (UTF-8 by default).
        """
        mapping = _mapping(input, expected_output, case_id, metadata_keys)
        options = {"delimiter": delimiter, "encoding": encoding}
        source = _sources().file_source(path, "csv", options, **mapping)
        return cls._over(source, dataset_id or source.name, revision)

    @classmethod
    def from_parquet(
        cls,
        path: str | os.PathLike[str],
        *,
        input: KeyOf = "input",  # noqa: A002 - the field's own name
        expected_output: KeyOf | None = "expected_output",
        case_id: str | FromRecord | None = "case_id",
        metadata_keys: Sequence[str] | None = None,
        dataset_id: str | None = None,
        revision: str | None = None,
    ) -> Self:
        """Return a dataset over a Parquet file, read lazily, a batch of rows at a time.

        Arguments are those of ``from_jsonl``. With ``metadata_keys`` and without functions, only
        the named columns are read.

        Raises:
            MissingExtraError: pyarrow is not installed (extra "parquet").
        """
        mapping = _mapping(input, expected_output, case_id, metadata_keys)
        source = _sources().file_source(path, "parquet", **mapping)
        return cls._over(source, dataset_id or source.name, revision)

    @classmethod
    def from_huggingface(
        cls,
        path: Any,
        *,
        input: KeyOf = "input",  # noqa: A002 - the field's own name
        expected_output: KeyOf | None = "expected_output",
        case_id: str | FromRecord | None = "case_id",
        metadata_keys: Sequence[str] | None = None,
        name: str | None = None,
        split: str | None = None,
        revision: str | None = None,
        streaming: bool = False,
        dataset_id: str | None = None,
    ) -> Self:
        """Return a dataset that the library ``datasets`` loads when it is first read.

        Args:
            path: its name on the Hugging Face hub; a folder of data files, or one written by
                ``save_to_disk``; or a data set that is loaded already.
            input: as for ``from_jsonl``, like the next three.
            expected_output: the gold answer.
            case_id: the case id.
            metadata_keys: the columns that become metadata.
            name: its configuration.
            split: the split; needed if there are several.
            revision: its revision on the hub.
            streaming: read from the hub at each pass, and keep no copy on disk.
            dataset_id: name of the dataset; by default path, configuration and split.

        Raises:
            MissingExtraError: ``datasets`` is not installed (extra "huggingface").
        """
        options = {"name": name, "split": split, "revision": revision, "streaming": streaming}
        mapping = _mapping(input, expected_output, case_id, metadata_keys)
        source = _sources().hub_source(path, options, **mapping)
        return cls._over(source, dataset_id or source.name, revision)

    @classmethod
    def _over(cls, source: CaseSource, dataset_id: str, revision: str | None) -> Self:
        made = cls(dataset_id=dataset_id, revision=revision)
        made._source = source
        return made

    def take(self, n: int) -> Dataset:
        """Return a dataset of the first ``n`` cases, or of all where there are fewer."""
        if n < 0:
            raise DefinitionError(f"take({n}): the number of cases cannot be negative", value=n)
        return self._part(Head(self, n))

    def filter(self, fn: Callable[[Case], bool]) -> Dataset:
        """Return a dataset of the cases for which ``fn`` is true.

        For a lazy dataset, ``fn`` is called in each pass and must return the same each time.
        """
        return self._part(Filtered(self, fn))

    def sample(self, n: int, *, seed: int) -> Dataset:
        """Return ``n`` cases drawn without replacement, in dataset order; fixed by ``seed``.

        The sample depends on the seed and the case ids alone, not on the cases' order. A larger
        sample of the same seed contains each smaller one, and adding data replaces only a few of a
        sample's cases, so that most earlier work is reused.

        Raises:
            DefinitionError: there are fewer than ``n`` cases; for a lazy dataset, when it is read.
        """
        if n < 0:
            raise DefinitionError(f"sample({n}): the number of cases cannot be negative", value=n)
        return self._part(Sample(self, n, seed=seed, name=attrgetter("case_id")))

    def _part(self, part: Iterable[Case]) -> Dataset:
        """Return a dataset of some of the cases, in memory if this one is, else lazy."""
        if self._source is None:
            return self.model_copy(update={"cases": list(part)})
        return self._over(part, self.dataset_id, self.revision).model_copy(
            update={"metadata": self.metadata}
        )


def _sources() -> Any:
    # The readers are imported by name, since core imports no other part of the package.
    return import_module("themis.data.sources")


def _mapping(
    given: KeyOf,
    expected: KeyOf | None,
    case_id: str | FromRecord | None,
    metadata_keys: Sequence[str] | None,
) -> dict[str, Any]:
    return {
        "given": given,
        "expected": expected,
        "case_id": case_id,
        "metadata_keys": metadata_keys,
    }


class Message(Model):
    """One turn of a conversation."""

    role: str
    content: JSONValue


class TraceStep(Model):
    """One step of a generator's trace, such as a tool call."""

    step_name: str
    step_type: str
    input: JSONValue = Field(default_factory=dict)
    output: JSONValue = Field(default_factory=dict)
    metadata: JSONObject = Field(default_factory=dict)
    timestamp: float | str | None = None
    """Unix seconds, or ISO 8601 text."""


class GenerationResult(Model):
    """A generator's answer for one sample of a case."""

    candidate_id: str
    """Any name; Themis makes it unique across samples."""
    final_output: JSONValue
    trace: list[TraceStep] | None = None
    conversation: list[Message] | None = None
    artifacts: JSONObject | None = None
    """Evidence, such as request, raw response and headers. Stored, and part of no key."""
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
    """The value that a parser read from a candidate's final output."""

    value: JSONValue
    format: str | None = None
    metadata: JSONObject = Field(default_factory=dict)


class Score(Model):
    """A metric's score: a finite number, or a bool that counts as 0 or 1."""

    metric_id: str
    value: float | bool
    details: JSONObject = Field(default_factory=dict)


class SampleScore(Model):
    """One sample's score, as a candidate-set metric receives it."""

    sample: int
    """Index of the sample."""
    value: float
    details: JSONObject = Field(default_factory=dict)
    failure: str | None = None
    """Category of the model's failure, such as "refused", that determined the value; else None."""
    parsed: ParsedOutput | None = None
    """The sample's parsed value, for a set metric that declares ``reads_parsed``; None if the
    sample could not be parsed or was refused."""


class ScoreError(Model):
    """Returned by a metric that cannot score. It becomes an error row, outside the mean."""

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
