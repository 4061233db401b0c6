"""How the answers of a case ended: which were refused, cut off or empty.

The ending is read from the stored generations and is not part of a score, so that equal scores stay
one artifact. Most answers end normally: a search in the stored bytes spares decoding those.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from themis.core.endings import BY_REASON, Ending, ending_of
from themis.core.pipeline import Pipeline
from themis.views.steps import CaseSteps, Subject

_REASON = b'"finish_reason":"'
_REASONS = tuple(f'{reason}"'.encode() for reason in BY_REASON)
_BLANK_BYTE = 0x20
_OUTPUT = b'"final_output":"'
_NO_OUTPUT = b'"final_output":null'
_BLANK = re.compile(
    rb"(?: |\\[nrtf]|\\u00[01][0-9a-f]"
    rb"|\xc2[\x85\xa0]|\xe1\x9a\x80|\xe2\x80[\x80-\x8a\xa8\xa9\xaf]|\xe2\x81\x9f|\xe3\x80\x80)*\""
)
"""White space as JSON writes it, up to the closing quote."""
_BLANK_BEGINS = b'" \\\xc2\xe1\xe2\xe3'


class AnswerEnding(NamedTuple):
    """How a subject's answer ended."""

    ending: Ending
    seq: int
    """Number of the generation's event: a score with a lower number is of an earlier answer."""


def subject_endings(
    steps: CaseSteps, pipeline: Pipeline, subjects: Sequence[Subject]
) -> dict[int | None, AnswerEnding]:
    """Return the answers of a case that were refused, cut off or empty, by sample.

    A reduced candidate, under the key None, has an ending if all its source samples share it.
    """
    ended = _of_samples(steps, pipeline.samples)
    found: dict[int | None, AnswerEnding] = {}
    for subject in subjects if ended else ():
        sources = [ended.get(one) for one in _sources(steps, pipeline, subject.sample)]
        told = (one for one in sources if one is not None)
        last = max(told, key=lambda one: one.seq, default=None)
        if last is not None and len({one and one.ending.category for one in sources}) == 1:
            found[subject.sample] = last
    return found


def _of_samples(steps: CaseSteps, samples: Sequence[int]) -> dict[int, AnswerEnding]:
    found: dict[int, AnswerEnding] = {}
    for sample in samples:
        event = steps.generated(sample)
        if event is None or event.artifact is None or not _may_tell(event.artifact.raw):
            continue
        payload = event.artifact.payload
        ending = ending_of(payload.get("final_output"), payload.get("artifacts"))
        if ending is not None:
            found[sample] = AnswerEnding(ending, event.seq)
    return found


def _sources(steps: CaseSteps, pipeline: Pipeline, sample: int | None) -> list[int]:
    """Return the samples that a subject was made of."""
    if sample is not None:
        return [sample]
    event = steps.newest.get(pipeline.source(None))
    if event is None or event.artifact is None:
        return []
    given = steps.chosen()
    if given is None:
        given = [
            sample
            for sample in pipeline.samples
            if (made := steps.generated(sample)) is not None and made.artifact is not None
        ]
    places: list[int] = event.artifact.payload.get("sources") or []
    return [given[place] for place in places if place < len(given)]


def _may_tell(raw: bytes) -> bool:
    """Return whether a stored generation may be refused, cut off or empty.

    It may be true of a normal answer, which decoding then shows; it is never wrongly false.
    """
    if raw[0] == _BLANK_BYTE:  # the standard library wrote it, with blanks
        return True
    if _NO_OUTPUT in raw:
        return True
    at = raw.find(_OUTPUT)
    while at >= 0:
        at += len(_OUTPUT)
        if raw[at] in _BLANK_BEGINS and _BLANK.match(raw, at):
            return True
        at = raw.find(_OUTPUT, at)
    at = raw.find(_REASON)
    while at >= 0:
        at += len(_REASON)
        if raw.startswith(_REASONS, at):
            return True
        at = raw.find(_REASON, at)
    return False
