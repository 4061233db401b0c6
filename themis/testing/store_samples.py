"""Small runs, events and cases for the tests of stores.

The events need not make sense as a run, since a store does not interpret them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from themis.core.base import ArtifactKey, RunId
from themis.core.events import Artifact, Event, EventKind, Stage, StepAddress
from themis.core.hashing import digest_value, encode, text
from themis.core.snapshot import ComponentRef, DatasetRef, Provenance, RunIdentity, RunSnapshot
from themis.core.store import Owner, StoredCase

RUN = RunId("0" * 32)
OTHER_RUN = RunId("1" * 32)
ADDRESS = StepAddress(Stage.GENERATE, 0)


def key(name: str) -> ArtifactKey:
    """Return the key for a name in a test."""
    return ArtifactKey(text(digest_value("sample", name)))


def artifact(
    name: str, payload: Any = "answer", *, code: str | None = None, supersedes: bool = False
) -> Artifact:
    """Return an artifact under ``key(name)``."""
    return Artifact(
        key=key(name),
        raw=encode({"value": payload}),
        at=1_700_000_000.25,
        code=None if code is None else text(digest_value("code", code)),
        supersedes=supersedes,
    )


def note(seq: int, words: str = "") -> Event:
    """Return an event without a case or an artifact."""
    return Event(kind=EventKind.NOTE, attempt=1, at=float(seq), seq=seq, data={"text": words})


def done(
    seq: int, brought: Artifact, *, case_index: int = 0, address: StepAddress = ADDRESS
) -> Event:
    """Return an event with a new artifact."""
    return Event(
        kind=EventKind.STEP_DONE,
        attempt=1,
        at=float(seq),
        seq=seq,
        case_index=case_index,
        address=address,
        candidate_id=f"candidate-{case_index}",
        key=brought.key,
        artifact=brought,
        data={"ms": 1.5},
    )


def reused(seq: int, name: str, *, version: int = 0, case_index: int = 0) -> Event:
    """Return an event that refers to a stored artifact."""
    return Event(
        kind=EventKind.STEP_DONE,
        attempt=1,
        at=float(seq),
        seq=seq,
        case_index=case_index,
        address=ADDRESS,
        key=key(name),
        version=version,
        reused=True,
    )


def facts(event: Event) -> tuple[Any, ...]:
    """Return an event's fields, for comparing."""
    made = event.artifact
    return (
        event.kind,
        event.attempt,
        event.at,
        event.seq,
        event.case_index,
        event.address,
        event.candidate_id,
        event.key,
        event.version,
        event.reused,
        event.data,
        None if made is None else artifact_facts(made),
    )


def artifact_facts(made: Artifact) -> tuple[Any, ...]:
    """Return an artifact's fields, for comparing."""
    return (made.key, made.raw, made.code, made.at, made.version, made.run_id)


def snapshot(name: str, fingerprints: Sequence[str] = ("t1:data",), seed: int = 7) -> RunSnapshot:
    """Return a small snapshot; different names give different runs."""
    return RunSnapshot(
        identity=RunIdentity(
            datasets=[
                DatasetRef(dataset_id=f"data-{n}", fingerprint=fingerprint, n_cases=3)
                for n, fingerprint in enumerate(fingerprints)
            ],
            generator=ComponentRef(
                role="generator",
                name=name,
                component_id=f"generator/{name}",
                version="1",
                fingerprint="f",
            ),
            seeds=[seed],
        ),
        provenance=Provenance(
            themis="0", python="3", platform="any", host="here", at=1_700_000_000.0
        ),
    )


def stored_case(name: str, **fields: Any) -> StoredCase:
    """Return a case in the form that stores receive."""
    content = {"input": f"question {name}", "expected_output": "yes", "metadata": {}} | fields
    return StoredCase(
        case_id=name, digest=digest_value("case", [name, content]), raw=encode(content)
    )


def owner(pid: int) -> Owner:
    """Return an owner by its process number."""
    return Owner(host="here", boot_id="boot", pid=pid, process_start="then")
