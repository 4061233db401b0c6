"""Keys: the digest of all that a step depends on, and nothing else.

The digests of the run's parts are computed once, those of a case once; a key is one more digest
over a handful of them. What each kind of key covers is said at its function. Ids in contexts, run
ids, latencies and names in tables are never in a key.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from themis.core.base import ArtifactKey, JSONValue
from themis.core.hashing import digest_parts, digest_value, text
from themis.core.models import Case, GenerationResult, Message, TraceStep
from themis.core.prompts import PromptSpec
from themis.core.snapshot import ComponentRef

NOTHING = digest_value("nothing", None)
"""Stands for a part that is absent or not read."""
_EMPTY = digest_value("part", {})
_NULL = digest_value("part", None)


def component_digest(ref: ComponentRef) -> bytes:
    """Digest of what a component is: not the name it goes by, nor the parser it is paired with."""
    facts = (
        None
        if ref.metric is None
        else [
            ref.metric.kind,
            ref.metric.value_range,
            ref.metric.higher_is_better,
            ref.metric.unparsed,
            ref.metric.subject,
            # A declaration that came later: who does not make it keeps its digest.
            *(["scores_refusals"] if ref.metric.scores_refusals else []),
        ]
    )
    return digest_value(
        "component",
        [ref.role, ref.component_id, ref.version, ref.fingerprint, ref.params, ref.reads, facts],
    )


def prompt_digest(spec: PromptSpec | None) -> bytes:
    """Digest of prompt material; an empty spec is none."""
    if spec is None or spec.is_empty():
        return NOTHING
    return digest_value("prompt", spec.model_dump(mode="json", exclude_defaults=True))


class CaseDigests:
    """The digests of one case's parts, and of the parts that a component reads."""

    __slots__ = ("_cache", "_expected_output", "_id", "_input", "_metadata", "whole")

    def __init__(self, case: Case) -> None:
        self._id = digest_value("part", case.case_id)
        self._input = _part(case.input)
        self._expected_output = _part(case.expected_output)
        self._metadata = _part(case.metadata)
        self.whole = digest_parts(
            "case", (self._id, self._input, self._expected_output, self._metadata)
        )
        """Digest of the whole case."""
        self._cache: dict[frozenset[str], bytes] = {}

    def read_by(self, reads: frozenset[str]) -> bytes:
        """Return the digest of the case id and the named parts."""
        if len(reads) == 3:
            return self.whole
        found = self._cache.get(reads)
        if found is None:
            found = self._cache[reads] = digest_parts(
                "case",
                (
                    self._id,
                    self._input if "input" in reads else NOTHING,
                    self._expected_output if "expected_output" in reads else NOTHING,
                    self._metadata if "metadata" in reads else NOTHING,
                ),
            )
        return found


def _part(value: JSONValue) -> bytes:
    if value is None:
        return _NULL
    if type(value) is dict and not value:
        return _EMPTY
    return digest_value("part", value)


@lru_cache(maxsize=1024)
def _draw(index: int, seed: int | None) -> bytes:
    return digest_value("draw", [index, seed])


def output_digest(result: GenerationResult) -> bytes:
    """Digest of a candidate's content: output and, where there are any, trace and conversation."""
    return content_digest(result.final_output, result.trace, result.conversation)


def content_digest(
    output: JSONValue,
    trace: Sequence[TraceStep] | None = None,
    conversation: Sequence[Message] | None = None,
) -> bytes:
    """Digest of what flows from a candidate into later stages; no ids, no timings of its own."""
    if trace is None and conversation is None:
        return digest_value("output", output)
    steps = None if trace is None else [step.model_dump(mode="json") for step in trace]
    said = None if conversation is None else [turn.model_dump(mode="json") for turn in conversation]
    return digest_value("output with trace", [output, steps, said])


def refused_digest(content: bytes, message: str) -> bytes:
    """Digest of the content of an answer that the model refused: not that of the same words."""
    return digest_parts("refused", [content, digest_value("why", message)])


def parsed_digest(value: JSONValue, format: str | None, metadata: JSONValue) -> bytes:  # noqa: A002
    """Digest of a parsed value."""
    return digest_value("parsed", [value, format, metadata])


def failure_digest(category: str, message: str) -> bytes:
    """Digest standing for a candidate that could not be read: category and message."""
    return digest_value("unread", [category, message])


def way_digest(candidate: bytes, parsed: bytes) -> bytes:
    """Digest of what a metric of the way to a candidate is given: the way, and the value."""
    return digest_parts("way", [candidate, parsed])


def generate_key(
    generator: bytes, prompt: bytes, case: bytes, sample: int, seed: int | None
) -> ArtifactKey:
    """Generator, prompt material, case id and what the generator reads, sample index, seed."""
    return _key("generate", (generator, prompt, case, _draw(sample, seed)))


def select_key(
    selector: bytes, contents: Iterable[bytes], case: bytes, judges: Iterable[bytes]
) -> ArtifactKey:
    """Selector, the candidates' contents in order, the case, the judges it may ask."""
    return _key("select", (selector, _many(contents), case, _many(judges)))


def reduce_key(
    reducer: bytes, contents: Iterable[bytes], parsed: Iterable[bytes], case: bytes
) -> ArtifactKey:
    """Reducer, the candidates' contents in order, their parsed values where read, the case."""
    return _key("reduce", (reducer, _many(contents), _many(parsed), case))


def parse_key(parser: bytes, content: bytes, case: bytes) -> ArtifactKey:
    """Parser, the candidate's content, case id and metadata: all that a parser is shown."""
    return _key("parse", (parser, content, case))


def score_key(metric: bytes, parsed: bytes, case: bytes, dataset: bytes) -> ArtifactKey:
    """Metric, the parsed value, the case, the dataset's metadata."""
    return _key("score", (metric, parsed, case, dataset))


def scored_digest(value: float, details: JSONValue, failure: str | None) -> bytes:
    """Digest of a sample's score: value, details, category of the failure it was given for."""
    return digest_value("scored", [value, details, failure])


def set_score_key(
    metric: bytes, scores: Iterable[bytes], parsed: Iterable[bytes], case: bytes, dataset: bytes
) -> ArtifactKey:
    """Metric, the samples' scores in order, their parsed values where read, case, metadata."""
    return _key("set score", (metric, _many(scores), _many(parsed), case, dataset))


def judge_call_key(
    judge: bytes, prompt: JSONValue, seed: int | None, repeat: int, twin: int = 0
) -> ArtifactKey:
    """Judge, the rendered prompt, judge seed, repeat index; and which of equal judges it is."""
    rendered = digest_value("rendered", [prompt, twin] if twin else prompt)
    return _key("judge call", (judge, rendered, _draw(repeat, seed)))


def aggregate_key(
    metric: bytes,
    content: bytes,
    case: bytes,
    dataset: bytes,
    workflow: bytes,
    judgments: JSONValue,
) -> ArtifactKey:
    """Metric, subject's content, case, dataset's metadata, judge prompt and settings, judgments."""
    return _key(
        "judge", (metric, content, case, dataset, workflow, digest_value("judgments", judgments))
    )


def _many(parts: Iterable[bytes]) -> bytes:
    return digest_parts("list", list(parts))


def _key(kind: str, parts: Sequence[bytes]) -> ArtifactKey:
    return text(digest_parts(kind, parts))  # type: ignore[return-value]  # a NewType costs a call
