"""Outputs that were made elsewhere, as rows of JSON.

A row names a case and the output for it. Every row is read and checked before the first is used,
and none is held in memory: only its position in the file is kept, and a short digest by which a
file that changed in the meantime is noticed. An error names the line of the row.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from themis.core.errors import ComponentError, DefinitionError, did_you_mean
from themis.core.hashing import check_json, encode
from themis.core.models import GenerationResult
from themis.data.exact_json import read_object

_BOM = b"\xef\xbb\xbf"
"""What some programs begin a file with."""
_OPTIONAL = ("trace", "conversation", "artifacts", "token_usage", "latency_ms")
KEYS = ("case_id", "output", "dataset_id", "sample", "candidate_id", *_OPTIONAL)
"""The keys that a row may have; the first two it must have."""


class OutputRow(NamedTuple):
    """One output."""

    line: int
    dataset_id: str | None
    """None where it is meant for the case of that id in whatever dataset."""
    case_id: str
    sample: int
    result: GenerationResult

    @property
    def place(self) -> tuple[str | None, str, int]:
        """What it answers: dataset, case and sample."""
        return self.dataset_id, self.case_id, self.sample


class OutputRows:
    """Rows of outputs, each found by dataset, case and sample.

    Attributes:
        name: what they are called: the file's name, or "rows".
        sha256: digest of all their bytes.
    """

    def __init__(self, name: str, path: Path | None, data: bytes) -> None:
        self.name = name
        self._path = path
        self._data = data
        self._found: dict[bytes, tuple[int, int, bytes]] = {}
        digest = sha256()
        place = 0
        for number, line in enumerate(self._lines(), start=1):
            digest.update(line)
            if line.strip():
                row = self._row(number, line)
                known = self._found.setdefault(_short(row.place), (place, number, _check(line)))
                if known[1] != number:
                    self._refuse(
                        number,
                        f"{_sample_of(row)} was answered in line {known[1]} already; "
                        "tell several samples of a case apart with 'sample': 0, 1, ...",
                    )
            place += len(line)
        self.sha256 = digest.hexdigest()
        if not self._found:
            raise DefinitionError(f"{name}: it holds no outputs", field="path", value=name)

    @classmethod
    def in_file(cls, path: str | os.PathLike[str]) -> OutputRows:
        """Return the rows of a JSON Lines file.

        Raises:
            DefinitionError: it is not there, or a row is refused; the message names file and line.
        """
        file = Path(path).expanduser()
        try:
            about = file.stat()
        except OSError as error:
            raise DefinitionError(
                f"outputs '{os.fspath(path)}': {error.strerror}", field="path", value=str(path)
            ) from None
        if not file.is_file():
            what = "a folder" if file.is_dir() else "no plain file, and is read more than once"
            raise DefinitionError(
                f"outputs '{os.fspath(path)}' is {what}; name a JSON Lines file",
                field="path",
                value=str(path),
            )
        return _read(str(file.resolve()), about.st_mtime_ns, about.st_size, about.st_ino)

    @classmethod
    def given(cls, rows: Iterable[Mapping[str, Any]]) -> OutputRows:
        """Return rows that are given as mappings.

        Raises:
            DefinitionError: they are none, or one is refused; the message names it by its number.
        """
        shown: object = rows  # whatever its type promises
        if isinstance(shown, (str, bytes, Mapping)) or not isinstance(shown, Iterable):
            raise DefinitionError(
                f"outputs are {type(shown).__name__}: give a JSON Lines file, or rows with "
                "'case_id' and 'output'",
                field="outputs",
            )
        return cls("rows", None, b"".join(_given_line(*row) for row in enumerate(shown, start=1)))

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[OutputRow]:
        """Yield the rows in order, each read anew."""
        for number, line in enumerate(self._lines(), start=1):
            if line.strip():
                yield self._row(number, line)

    def find(self, dataset_id: str, case_id: str, sample: int) -> OutputRow | None:
        """Return the row of a sample: the one for its dataset, or else the one for any.

        Raises:
            ComponentError: the file is not what it was when it was checked.
        """
        for place in ((dataset_id, case_id, sample), (None, case_id, sample)):
            known = self._found.get(_short(place))
            if known is None:
                continue
            start, number, check = known
            line = self._line_at(start)
            if _check(line) != check:
                raise ComponentError(
                    f"{self.name} was changed since the run began: line {number} is another"
                )
            row = self._row(number, line)
            if row.place == place:
                return row
        return None

    def _lines(self) -> Iterator[bytes]:
        if self._path is None:
            yield from self._data.splitlines(keepends=True)
            return
        with self._path.open("rb") as file:
            yield from file

    def _line_at(self, start: int) -> bytes:
        if self._path is None:
            return self._data[start:].partition(b"\n")[0] + b"\n"
        with self._path.open("rb") as file:
            file.seek(start)
            return file.readline()

    def _row(self, number: int, line: bytes) -> OutputRow:
        try:
            fields = read_object(line.removeprefix(_BOM if number == 1 else b"").decode())
        except ValueError as error:
            self._refuse(number, str(error))
        for name in fields:
            if name not in KEYS:
                hint = did_you_mean(name, KEYS)
                self._refuse(number, f"no key '{name}'{hint}; further facts go under 'artifacts'")
        for name in KEYS[:2]:
            if name not in fields:
                self._refuse(number, f"'{name}' is missing; found: {', '.join(fields) or 'none'}")
        case_id = fields["case_id"]
        if type(case_id) not in (int, str) or case_id == "":
            self._refuse(number, f"case_id is {case_id!r}: an id is text or an integer")
        sample = fields.get("sample", 0)
        if type(sample) is not int or sample < 0:
            self._refuse(number, f"sample is {sample!r}: samples count from 0")
        dataset_id = fields.get("dataset_id")
        if dataset_id is not None and not isinstance(dataset_id, str):
            self._refuse(number, f"dataset_id is {dataset_id!r}: it is text")
        try:
            result = GenerationResult(
                candidate_id=fields.get("candidate_id", f"{case_id}-output"),
                final_output=fields["output"],
                **{name: fields[name] for name in _OPTIONAL if name in fields},
            )
        except DefinitionError as error:
            self._refuse(number, str(error))
        used = {**(result.token_usage or {}), "latency_ms": result.latency_ms or 0}
        for name, amount in used.items():
            if amount < 0:
                self._refuse(number, f"{name} is {amount!r}: it is counted from 0")
        return OutputRow(number, dataset_id, str(case_id), sample, result)

    def _refuse(self, number: int, what: str) -> NoReturn:
        raise DefinitionError(f"{self.name} line {number}: {what}", field="path", value=number)


@lru_cache(maxsize=4)
def _read(path: str, changed: int, size: int, number: int) -> OutputRows:
    """Return the rows of a file as it stands, which is compiled several times and read once."""
    del changed, size, number
    return OutputRows(Path(path).name, Path(path), b"")


def _given_line(number: int, row: object) -> bytes:
    """Return a row that was given as it would stand in a file."""
    where = f"rows line {number}"
    if not isinstance(row, Mapping):
        raise DefinitionError(
            f"{where}: a mapping is wanted, not a {type(row).__name__}", field="path", value=number
        )
    return encode(check_json(dict(row), where)) + b"\n"


def _short(place: tuple[str | None, str, int]) -> bytes:
    return blake2b(encode(list(place)), digest_size=12).digest()


def _check(line: bytes) -> bytes:
    return blake2b(line.rstrip(b"\r\n"), digest_size=8).digest()


def _sample_of(row: OutputRow) -> str:
    dataset = "" if row.dataset_id is None else f" of dataset '{row.dataset_id}'"
    return f"case '{row.case_id}'{dataset} sample {row.sample}"
