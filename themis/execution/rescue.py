"""What a store could not keep, in a file beside it until the next run takes it in.

When a store fails for good, what is queued for it was paid for. It is written as lines of JSON,
each with a checksum, into the first of a few folders that can be written: that of the store, or one
for temporary files, on another disk perhaps. The next run of the same id in the same store looks in
the same folders. What is in the file is what the store would hold, secrets hidden as there.
"""

from __future__ import annotations

import os
import stat
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from themis.core.base import RunId
from themis.core.events import Artifact, Event, EventKind, Stage, StepAddress
from themis.core.hashing import decode, digest_value, encode
from themis.core.store import Lease, RunStore

_STALE = ".stale"
_IN_MEMORY = Path("/dev/shm")  # noqa: S108 - a name of one's own, looked at before it is read


def set_aside(store: RunStore, run_id: RunId, events: Sequence[Event]) -> str:
    """Write events that a store could not keep to a file; return what to tell of it.

    Args:
        store: the one that failed; one that lies in no file has nothing to be found again by.
        run_id: the run.
        events: in order, numbered as they would have been.
    """
    made = sum(event.artifact is not None for event in events)
    if not made:
        return ""
    lines = b"".join(map(_line, events))
    told = _counted(made)
    for path in _places(store, run_id):
        with suppress(OSError):
            _append(path, lines)
            return f"; {told} not kept there lie in {path}, and the next run takes them in"
    return f"; {told} could not be kept anywhere"


def take_in(store: RunStore, lease: Lease, last_seq: int) -> str | None:
    """Append what an earlier run set aside to the run that it belongs to.

    Args:
        store: where the run is.
        lease: of the run.
        last_seq: number of the run's last event.

    Returns:
        What the user should know; None where nothing was set aside.
    """
    for path in _places(store, lease.run_id):
        if not _is_own(path):
            continue
        events = list(_events(path))
        missing = [event for event in events if event.seq > last_seq]
        overlap = [event for event in events if event.seq <= last_seq]
        if not events or not _are_there(store, lease.run_id, overlap):
            path.rename(path.with_name(path.name + _STALE))
            return f"{path}{_STALE} holds what the store once could not keep; the run went on since"
        if missing:
            store.append(lease.run_id, missing, epoch=lease.epoch)
        path.unlink()
        made = sum(event.artifact is not None for event in missing)
        return f"took in {_counted(made)} that the store could not keep before, from {path}"
    return None


def _are_there(store: RunStore, run_id: RunId, events: Sequence[Event]) -> bool:
    """Return whether a store has events, as it may though it failed when it was given them."""
    if not events:
        return True
    kept = store.events(run_id, after=events[0].seq - 1)
    return all(
        (event.seq, event.kind, event.key, event.at) == (one.seq, one.kind, one.key, one.at)
        for event, one in zip(events, kept, strict=False)
    )


def _counted(made: int) -> str:
    return f"{made:,} result{'' if made == 1 else 's'}"


def _places(store: RunStore, run_id: RunId) -> Iterator[Path]:
    """Yield where a run's file may lie."""
    path = getattr(store, "path", None)
    if not isinstance(path, str):
        return
    name = f"themis-{digest_value('rescue', os.path.realpath(path)).hex()[:12]}-{run_id}.jsonl"
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "themis"
    folders = (Path(path).parent, Path(tempfile.gettempdir()), _IN_MEMORY, home)
    yield from (folder / name for folder in dict.fromkeys(folders))


def _append(path: Path, lines: bytes) -> None:
    """Append lines to a file that nobody else may read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
    number = os.open(path, flags, 0o600)
    try:
        before = os.fstat(number).st_size
        try:
            written = 0
            while written < len(lines):
                written += os.write(number, lines[written:])
            os.fsync(number)
        except OSError:
            os.ftruncate(number, before)
            raise
    finally:
        os.close(number)
        if not path.stat().st_size:
            path.unlink()


def _is_own(path: Path) -> bool:
    """Return whether there is a file of this user's; in a shared folder anybody may put one."""
    try:
        found = path.lstat()
    except OSError:
        return False
    own = not hasattr(os, "getuid") or found.st_uid == os.getuid()
    return own and stat.S_ISREG(found.st_mode)


def _line(event: Event) -> bytes:
    artifact = event.artifact
    told = {
        "seq": event.seq,
        "kind": event.kind.value,
        "attempt": event.attempt,
        "at": event.at,
        "case_index": event.case_index,
        "address": None if event.address is None else list(event.address),
        "candidate_id": event.candidate_id,
        "key": event.key,
        "version": event.version,
        "reused": event.reused,
        "data": event.data,
        "artifact": None
        if artifact is None
        else {
            "key": artifact.key,
            "raw": artifact.raw.decode(),
            "at": artifact.at,
            "code": artifact.code,
            "supersedes": artifact.supersedes,
        },
    }
    said = encode(told)
    return b"%08x %s\n" % (zlib.crc32(said), said)


def _events(path: Path) -> Iterator[Event]:
    """Yield a file's events up to the first line that is not whole."""
    for line in path.read_bytes().split(b"\n"):
        checksum, _, said = line.partition(b" ")
        if checksum != b"%08x" % zlib.crc32(said):
            return
        yield _event(decode(said))


def _event(told: dict[str, Any]) -> Event:
    address, artifact = told.pop("address"), told.pop("artifact")
    if artifact is not None:
        artifact = Artifact(**{**artifact, "raw": artifact["raw"].encode()})
    if address is not None:
        address = StepAddress(Stage(address[0]), *address[1:])
    kind = EventKind(told.pop("kind"))
    return Event(kind=kind, address=address, artifact=artifact, **told)
