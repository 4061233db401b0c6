"""How the answers of a case ended: which were refused, cut off or empty.

It is told from the generations themselves and stored nowhere else, so that equal scores stay one
artifact. Most answers simply end: a look at the stored bytes spares decoding those.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from themis.core.endings import BY_REASON, Ending, ending_of
from themis.core.snapshot import RunIdentity
from themis.views.steps import REDUCE, CaseSteps, Subject

_REASON = b'"finish_reason":"'
_REASONS = tuple(f'{reason}"'.encode() for reason in BY_REASON)
_BLANK_BYTE = 0x20
_OUTPUT = b'"final_output":"'
_BLANK = re.compile(
    rb"(?: |\\[nrtf]|\\u00[01][0-9a-f]"
    rb"|\xc2[\x85\xa0]|\xe1\x9a\x80|\xe2\x80[\x80-\x8a\xa8\xa9\xaf]|\xe2\x81\x9f|\xe3\x80\x80)*\""
)
"""All that Python takes for blank, as JSON writes it, up to the closing quote."""
_BLANK_BEGINS = b'" \\\xc2\xe1\xe2\xe3'


class Ended(NamedTuple):
    """How a subject's answer ended."""

    ending: Ending
    seq: int
    """Number of the event that tells it: an older score is of another answer."""


def subject_endings(
    steps: CaseSteps, identity: RunIdentity, subjects: Sequence[Subject]
) -> dict[int | None, Ended]:
    """Return how the answers of a case's subjects ended, by sample; what simply ended is left out.

    A reduced candidate, under None, has the ending that all its sources share.
    """
    if identity.reducer is None:
        return _of_samples(subjects)
    samples = range(identity.num_samples)
    ended = _of_samples([Subject(one, None, None, steps.generated(one)) for one in samples])
    sources = _sources(steps, identity) if ended else []
    found = [ended.get(sample) for sample in sources]
    shared = {None if one is None else one.ending.category for one in found}
    last = max((one for one in found if one is not None), key=lambda one: one.seq, default=None)
    return {None: last} if last is not None and len(shared) == 1 else {}


def _of_samples(samples: Sequence[Subject]) -> dict[int | None, Ended]:
    found: dict[int | None, Ended] = {}
    for sample, _, _, event in samples:
        if event is None or event.artifact is None or not _may_tell(event.artifact.raw):
            continue
        payload = event.artifact.payload
        ending = ending_of(payload.get("final_output"), payload.get("artifacts"))
        if ending is not None:
            found[sample] = Ended(ending, event.seq)
    return found


def _sources(steps: CaseSteps, identity: RunIdentity) -> list[int]:
    """Return the samples that a reduced candidate was made of."""
    event = steps.newest.get(REDUCE)
    if event is None or event.artifact is None:
        return []
    given = steps.chosen()
    if given is None:
        given = [
            sample
            for sample in range(identity.num_samples)
            if (made := steps.generated(sample)) is not None and made.artifact is not None
        ]
    places: list[int] = event.artifact.payload.get("sources") or []
    return [given[place] for place in places if place < len(given)]


def _may_tell(raw: bytes) -> bool:
    """Return whether a stored generation may be of an answer that did not simply end.

    A false alarm is sorted out by decoding; nothing is missed.
    """
    if raw[0] == _BLANK_BYTE:  # written with blanks between its parts, for a large integer's sake
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
