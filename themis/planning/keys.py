"""Keys: the digest of all that a step depends on, and nothing else.

A key is made of named parts, each a digest; a ``KeyKind`` says which. The digests of the
run's components are computed once, those of a case once; a key is one more digest over a handful
of them. Why a key is another than a kept run's is told by the names of the parts that differ
(``compare/reasons``). Ids in contexts, run ids, latencies and names in tables are never in a key.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from themis.core.base import ArtifactKey, JSONValue
from themis.core.events import Stage, StepAddress
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
            ref.metric.scores_refusals,
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


def trajectory_digest(candidate: bytes, parsed: bytes) -> bytes:
    """Digest of what a trajectory metric is given: the candidate with its trajectory, the value."""
    return digest_parts("trajectory", [candidate, parsed])


def scored_digest(value: float, details: JSONValue, failure: str | None) -> bytes:
    """Digest of a sample's score: value, details, category of the failure it was given for."""
    return digest_value("scored", [value, details, failure])


class KeyKind:
    """A kind of key, and the names of the parts that it is made of, in order.

    ``case`` is the case id and the parts of the case that the component reads, ``dataset`` the
    dataset's metadata.
    """

    __slots__ = ("_kind", "parts")

    def __init__(self, kind: str, *parts: str) -> None:
        self._kind = kind
        self.parts = parts

    def key(self, *digests: bytes) -> ArtifactKey:
        """Return the key that is made of a digest for each part."""
        return text(digest_parts(self._kind, digests))  # type: ignore[return-value]  # a NewType costs a call


GENERATION = KeyKind("generate", "generator", "prompt", "case", "draw")
SELECTION = KeyKind("select", "selector", "samples", "case", "judges")
REDUCTION = KeyKind("reduce", "reducer", "samples", "values", "case")
PARSE = KeyKind("parse", "parser", "candidate", "case")
SCORE = KeyKind("score", "metric", "parsed", "case", "dataset")
SET_SCORE = KeyKind("set score", "metric", "scores", "values", "case", "dataset")
JUDGE_CALL = KeyKind("judge call", "judge", "question", "repeat")
JUDGED = KeyKind("judge", "metric", "candidate", "case", "dataset", "workflow", "judgments")
_OF_STAGE: dict[Stage, KeyKind] = {
    Stage.GENERATE: GENERATION,
    Stage.SELECT: SELECTION,
    Stage.REDUCE: REDUCTION,
    Stage.PARSE: PARSE,
    Stage.SCORE: SCORE,
    Stage.JUDGE: JUDGED,
}


def key_kind(address: StepAddress, *, folds: bool = False) -> KeyKind:
    """Return the kind of a step's key.

    Args:
        address: the step.
        folds: whether its metric folds the scores of a case's samples.
    """
    if address.call is not None:
        return JUDGE_CALL
    return SET_SCORE if folds else _OF_STAGE[address.stage]


def generate_key(
    generator: bytes, prompt: bytes, case: bytes, sample: int, seed: int | None
) -> ArtifactKey:
    """Return the key of a generation; its draw is the sample index and the seed."""
    return GENERATION.key(generator, prompt, case, _draw(sample, seed))


def select_key(
    selector: bytes, contents: Iterable[bytes], case: bytes, judges: Iterable[bytes]
) -> ArtifactKey:
    """Return the key of a selection: of the samples' contents in order, and the judges to ask."""
    return SELECTION.key(selector, _many(contents), case, _many(judges))


def reduce_key(
    reducer: bytes, contents: Iterable[bytes], parsed: Iterable[bytes], case: bytes
) -> ArtifactKey:
    """Return the key of a reduction: of the samples' contents, and their values where read."""
    return REDUCTION.key(reducer, _many(contents), _many(parsed), case)


def parse_key(parser: bytes, content: bytes, case: bytes) -> ArtifactKey:
    """Return the key of a parse: of all that a parser is shown."""
    return PARSE.key(parser, content, case)


def score_key(metric: bytes, parsed: bytes, case: bytes, dataset: bytes) -> ArtifactKey:
    """Return the key of a score: of the parsed value, and of the way to it where that is scored."""
    return SCORE.key(metric, parsed, case, dataset)


def set_score_key(
    metric: bytes, scores: Iterable[bytes], parsed: Iterable[bytes], case: bytes, dataset: bytes
) -> ArtifactKey:
    """Return the key of a set metric's score: of the samples' scores, and their values if read."""
    return SET_SCORE.key(metric, _many(scores), _many(parsed), case, dataset)


def judge_call_key(
    judge: bytes, prompt: JSONValue, seed: int | None, repeat: int, duplicate_index: int = 0
) -> ArtifactKey:
    """Return the key of one call of a judge.

    The question is the rendered prompt; and, of several equal judges, which of them is asked. The
    repeat is its index and the judge's seed.
    """
    question = digest_value("rendered", [prompt, duplicate_index])
    return JUDGE_CALL.key(judge, question, _draw(repeat, seed))


def aggregate_key(
    metric: bytes,
    content: bytes,
    case: bytes,
    dataset: bytes,
    workflow: bytes,
    judgments: JSONValue,
) -> ArtifactKey:
    """Return the key of a judged metric's value: of the judgments on one or more candidates."""
    judged = digest_value("judgments", judgments)
    return JUDGED.key(metric, content, case, dataset, workflow, judged)


def _many(parts: Iterable[bytes]) -> bytes:
    return digest_parts("list", list(parts))


def derived_seed(case_id: str, *draw: int | str) -> int:
    """Return a seed between 0 and 2**31 - 1, fixed by the case id and the draw.

    Never by content: a corrected question keeps its seeds. Some endpoints refuse over 31 bits.
    """
    return int.from_bytes(digest_value("seed", [case_id, *draw])[:4], "big") & 0x7FFF_FFFF


def sample_seed(seeds: Sequence[int], case_id: str, sample: int) -> int:
    """Return one sample's seed: the user's, or one derived from case id and sample index."""
    return seeds[sample] if seeds else derived_seed(case_id, sample)
