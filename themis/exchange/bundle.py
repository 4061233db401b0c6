"""The bundle format: a run's steps as JSON lines with checksums.

The first line is the manifest, each further one a record. Every line carries the SHA-256 of its own
bytes, and the manifest that of all lines below it, so that any change is noticed. The hashes reveal
damage and edits by hand; they are no signature. A bundle is read and written a line at a time; a
large one is kept in a file, not in memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Self, get_args

from themis.core.base import RunId
from themis.core.errors import DefinitionError
from themis.core.hashing import decode, encode
from themis.exchange.records import BundleKind, check_manifest

FORMAT = "themis-bundle/1"
KINDS: tuple[BundleKind, ...] = get_args(BundleKind)

_HELD = 1 << 20
"""Bytes of lines that are kept in memory; a larger bundle goes to a temporary file."""
_HEAD = b'{"sha256":"'
_NECK = b'","record":'
_HEX = 64
_BODY = len(_HEAD) + _HEX + len(_NECK)


class Bundle:
    """A run, up to one stage, outside of a store.

    Made by the exports, ``Bundle.load`` and ``Bundle.read``.

    Attributes:
        manifest: format, kind, Themis version, run id, snapshot, counts, and the body's hash.
        source: the file that it was read from, for messages; None without a file.
    """

    def __init__(
        self, manifest: dict[str, Any], head: bytes, body: _Lines, source: str | None = None
    ) -> None:
        self.manifest = manifest
        self.source = source
        self._head = head
        self._body = body

    def __repr__(self) -> str:
        return f"<{self.kind} bundle of run {self.run_id}, {self.counts_told}>"

    @property
    def kind(self) -> str:
        """The kind, one of ``KINDS``: the stage up to which it holds the run."""
        return str(self.manifest["kind"])

    @property
    def run_id(self) -> RunId:
        """Id of the run in the bundle."""
        return RunId(self.manifest["run_id"])

    @property
    def counts_told(self) -> str:
        """The numbers of cases and steps in the manifest, as text."""
        counts = self.manifest.get("counts") or {}
        return ", ".join(f"{count:,} {name}" for name, count in counts.items())

    @property
    def title(self) -> str:
        """Its name in messages: its file, or its run."""
        return f"bundle of run {self.run_id}" if self.source is None else f"bundle '{self.source}'"

    @property
    def data(self) -> bytes:
        """The whole text as UTF-8. ``save`` and ``chunks`` do not load it as a whole."""
        return b"".join(self.chunks())

    @classmethod
    def of(cls, manifest: dict[str, Any], records: Iterable[dict[str, Any]]) -> Self:
        """Return a bundle of records.

        The manifest is read after the records, so that it can hold counts of them.
        """
        body = SpooledTemporaryFile(max_size=_HELD)  # noqa: SIM115 - it is the bundle's
        digest = sha256()
        for record in records:
            line = _line(record)
            digest.update(line)
            body.write(line)
        full = {"format": FORMAT, **manifest, "body_sha256": digest.hexdigest()}
        return cls(full, _line(full), _Held(body))

    @classmethod
    def read(cls, data: str | bytes, source: str | None = None) -> Self:
        """Return the bundle in a text; records are checked when they are read.

        Args:
            data: the text.
            source: name of its file, for messages.

        Raises:
            DefinitionError: the text is no bundle, or its manifest was changed.
        """
        raw = data.encode() if isinstance(data, str) else data
        text = BytesIO(raw)
        head = text.readline()
        return cls(_manifest(head, source), head, _Held(text, start=len(head)), source)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Return the bundle in a file; only the manifest is read at first.

        The file must not change while the bundle is used; a change is noticed and refused.

        Raises:
            DefinitionError: the file cannot be read or is no bundle.
        """
        name = os.fspath(path)
        try:
            with Path(path).open("rb") as file:
                head = file.readline()
        except OSError as error:
            raise DefinitionError(f"bundle '{name}': {error.strerror}", field="bundle") from None
        return cls(_manifest(head, name), head, _OnDisk(Path(path), start=len(head)), name)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the bundle to a file, replacing it if it exists, and return the path."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        try:
            with partial.open("wb") as file:
                for chunk in self.chunks():
                    file.write(chunk)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        return target

    def chunks(self) -> Iterator[bytes]:
        """Yield the text line by line."""
        yield self._head
        yield from self._lines()

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the records in order, after checking each; at the end their number and order.

        Raises:
            DefinitionError: a record was changed; the message names it.
        """
        body = sha256()
        for number, line in enumerate(self._lines(), start=2):
            body.update(line)
            try:
                record = _checked(line, f"line {number}")
            except DefinitionError as error:
                said = f"{self.title}: {error}"
                raise DefinitionError(said, field="bundle", value=number) from None
            yield record
        if body.hexdigest() != self.manifest["body_sha256"]:
            raise DefinitionError(
                f"{self.title}: records were added, removed or moved since it was "
                "exported; export it again",
                field="bundle",
            )

    def _lines(self) -> Iterator[bytes]:
        try:
            yield from self._body.lines()
        except OSError as error:
            raise DefinitionError(f"{self.title}: {error.strerror}", field="bundle") from None


class _Held:
    """Lines in memory or in a temporary file, which several readers may read at once."""

    def __init__(self, file: IO[bytes] | SpooledTemporaryFile[bytes], start: int = 0) -> None:
        self._file = file
        self._start = start

    def lines(self) -> Iterator[bytes]:
        """Yield the lines; each reader keeps its own position."""
        place = self._start
        while True:
            self._file.seek(place)
            line = self._file.readline()
            if not line:
                return
            place += len(line)
            yield line


class _OnDisk:
    """Lines of a file, which each reader opens itself."""

    def __init__(self, path: Path, start: int) -> None:
        self._path = path
        self._start = start

    def lines(self) -> Iterator[bytes]:
        """Yield the lines."""
        with self._path.open("rb") as file:
            file.seek(self._start)
            yield from file


_Lines = _Held | _OnDisk


def _manifest(head: bytes, source: str | None) -> dict[str, Any]:
    name = "bundle" if source is None else f"bundle '{source}'"
    try:
        manifest = _checked(head, "the manifest")
    except DefinitionError as error:
        raise DefinitionError(f"{name}: {error}", field="bundle") from None
    found = manifest.get("format")
    if found != FORMAT:
        raise DefinitionError(
            f"{name}: its format is {found!r}, and {FORMAT!r} is understood; "
            "a newer Themis may read it",
            field="bundle",
        )
    check_manifest(manifest, name=name)
    return manifest


def _line(record: dict[str, Any]) -> bytes:
    body = encode(record)
    digest = sha256(body).hexdigest().encode()
    return _HEAD + digest + _NECK + body + b"}\n"


def _checked(line: bytes, name: str) -> dict[str, Any]:
    """Return a line's record, after checking its hash and form."""
    body, digest = line[_BODY:-2], line[len(_HEAD) : len(_HEAD) + _HEX]
    is_whole = line == _HEAD + digest + _NECK + body + b"}\n"
    found: Any = None
    try:
        found = decode(body)
    except ValueError:
        is_whole = is_whole and bool(body)
    is_record = isinstance(found, dict)
    is_said = sha256(body).hexdigest().encode() == digest
    if is_whole and is_said and is_record:
        record: dict[str, Any] = found
        return record
    if is_record and not (is_whole and is_said):
        raise DefinitionError(
            f"{name} ({_described(found)}) was changed since it was exported; export it again",
            field="bundle",
        )
    raise DefinitionError(
        f"{name} is not a record of a bundle: it is damaged, or nothing of the kind",
        field="bundle",
    )


def _described(record: dict[str, Any]) -> str:
    words = [str(record[name]) for name in ("record", "stage", "component") if record.get(name)]
    if "case_id" in record:
        words.append(f"of case '{record['case_id']}'")
    return " ".join(words) or "manifest"
