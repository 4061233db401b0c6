"""A bundle: a run's work as one text of JSON lines that can be read, sent and checked.

The first line is the manifest, each further one a record; every line carries the SHA-256 of what it
says and the manifest that of all lines below it. The hashes tell of damage and of edits by hand;
they are no signature.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, Self

from themis.core.base import RunId
from themis.core.errors import DefinitionError
from themis.core.hashing import decode, encode

FORMAT = "themis-bundle/1"
BundleKind = Literal["generation", "evaluation"]


@dataclass(frozen=True)
class Bundle:
    """A run's work outside of a store.

    Attributes:
        manifest: format, kind, Themis version, run id, snapshot, counts, and the body's hash.
        data: the whole text, UTF-8.
        source: the file it was read from, for messages.
    """

    manifest: dict[str, Any]
    data: bytes
    source: str | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        return f"<{self.kind} bundle of run {self.run_id}, {len(self.data):,} bytes>"

    @property
    def kind(self) -> str:
        """Of what stage it is: "generation" or "evaluation"."""
        return str(self.manifest["kind"])

    @property
    def run_id(self) -> RunId:
        """The run it is of."""
        return RunId(self.manifest["run_id"])

    @property
    def title(self) -> str:
        """What it goes by in messages: its file, or its run."""
        return f"bundle of run {self.run_id}" if self.source is None else f"bundle '{self.source}'"

    @classmethod
    def of(cls, manifest: dict[str, Any], records: Iterable[dict[str, Any]]) -> Self:
        """Return the bundle of these records."""
        body = b"".join(_line(record) for record in records)
        full = {"format": FORMAT, **manifest, "body_sha256": sha256(body).hexdigest()}
        return cls(full, _line(full) + body)

    @classmethod
    def read(cls, data: str | bytes, source: str | None = None) -> Self:
        """Return the bundle that a text holds; its records are checked as they are read.

        Args:
            data: the text.
            source: the file it is from, for messages.

        Raises:
            DefinitionError: it is no bundle, or its manifest was changed.
        """
        name = "bundle" if source is None else f"bundle '{source}'"
        raw = data.encode() if isinstance(data, str) else data
        try:
            manifest = _checked(raw.partition(b"\n")[0], "the manifest")
        except DefinitionError as error:
            raise DefinitionError(f"{name}: {error}", field="bundle") from None
        found = manifest.get("format")
        if found != FORMAT:
            raise DefinitionError(
                f"{name}: its format is {found!r}, and {FORMAT!r} is understood; "
                "a newer Themis may read it",
                field="bundle",
            )
        return cls(manifest, raw, source)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a bundle from a file.

        Raises:
            DefinitionError: the file cannot be read or is no bundle.
        """
        try:
            return cls.read(Path(path).read_bytes(), os.fspath(path))
        except OSError as error:
            raise DefinitionError(
                f"bundle '{os.fspath(path)}': {error.strerror}", field="bundle"
            ) from None

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the bundle to a file, in place of what was there, and return the path."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        try:
            partial.write_bytes(self.data)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        return target

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the records in order, each checked; at the end, that none is missing or moved.

        Raises:
            DefinitionError: naming the record that was changed.
        """
        start = self.data.find(b"\n") + 1
        body_start, number = start, 1
        while start < len(self.data):
            end = self.data.find(b"\n", start)
            end = len(self.data) if end < 0 else end
            number += 1
            yield self._record(self.data[start:end], number)
            start = end + 1
        body = sha256(memoryview(self.data)[body_start:]).hexdigest()
        if body != self.manifest["body_sha256"]:
            raise DefinitionError(
                f"{self.title}: records were added, removed or moved since it was "
                "exported; export it again",
                field="bundle",
            )

    def _record(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            return _checked(line, f"line {number}")
        except DefinitionError as error:
            raise DefinitionError(f"{self.title}: {error}", field="bundle", value=number) from None


def _line(record: dict[str, Any]) -> bytes:
    body = encode(record)
    # Integers beyond 64 bits are marked by a leading blank, which is kept in front.
    blank = body[:1] if body[:1] == b" " else b""
    digest = sha256(body).hexdigest().encode()
    return blank + b'{"sha256":"' + digest + b'","record":' + body + b"}\n"


def _checked(line: bytes, name: str) -> dict[str, Any]:
    try:
        parts = decode(line)
        record, digest = parts["record"], parts["sha256"]
        described = _described(record)
    except (ValueError, TypeError, KeyError):
        raise DefinitionError(f"{name} is not a record of a bundle", field="bundle") from None
    if sha256(encode(record)).hexdigest() != digest:
        raise DefinitionError(
            f"{name} ({described}) was changed since it was exported; export it again",
            field="bundle",
        )
    found: dict[str, Any] = record
    return found


def _described(record: dict[str, Any]) -> str:
    words = [str(record[name]) for name in ("record", "stage", "component") if record.get(name)]
    if "case_id" in record:
        words.append(f"of case '{record['case_id']}'")
    return " ".join(words) or "manifest"
