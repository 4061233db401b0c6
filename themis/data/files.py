"""Reading the records of JSON Lines, CSV and Parquet files.

Each pass opens the file again and keeps one line, or a batch of rows, in memory. A duplicate JSON
key is refused, and a CSV cell is always text.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, TextIO

from themis.core.errors import DefinitionError, MissingExtraError
from themis.data.exact_json import read_object

Record = dict[str, Any]
_BATCH = 512
_BUFFER = 1 << 20
_LONGEST_CELL = (1 << 31) - 1
_PACKED = (".gz", ".zst")


class Records(Protocol):
    """A source of records that can be read repeatedly, always in the same order."""

    name: str
    """Default name of a dataset of these records."""

    def read(self, keys: Sequence[str] | None) -> Iterator[tuple[str, int, Record]]:
        """Yield for each record its place as text, such as "line 3", its number, and the record.

        Args:
            keys: the keys that are needed; None for all.
        """
        ...


class _File:
    """Base of the readers of files."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            what = "a folder" if self.path.is_dir() else "not there"
            raise DefinitionError(f"data file '{path}' is {what}", field="path", value=str(path))
        bare = self.path.with_suffix("") if self.path.suffix.lower() in _PACKED else self.path
        self.name = bare.stem

    def _refusal(self, place: str, what: str) -> DefinitionError:
        return DefinitionError(f"{self.path} {place}: {what}")

    @contextmanager
    def _text(self, newline: str | None = None) -> Iterator[TextIO]:
        """Open the file as text, decompressed; errors while reading it name the file."""
        try:
            with (
                self._bytes() as raw,
                io.TextIOWrapper(raw, encoding="utf-8-sig", newline=newline) as lines,
            ):
                yield lines
        except UnicodeDecodeError as error:
            raise DefinitionError(f"{self.path} is not UTF-8 text: {error.reason}") from None
        except (EOFError, zlib.error) as error:
            raise DefinitionError(f"{self.path} is broken: {error}") from None
        except OSError as error:
            said = error.strerror or str(error)
            raise DefinitionError(f"{self.path} cannot be read: {said}") from None

    def _bytes(self) -> Any:
        match self.path.suffix.lower():
            case ".gz":
                return gzip.open(self.path, "rb")
            case ".zst":
                arrow = _arrow("pyarrow", f"reading '{self.path.name}'")
                return arrow.input_stream(str(self.path), compression="zstd")
        return self.path.open("rb")


class JsonLines(_File):
    """A JSON Lines file: one object a line; blank lines are skipped."""

    def read(self, keys: Sequence[str] | None) -> Iterator[tuple[str, int, Record]]:
        """Yield the objects. See ``Records.read``."""
        with self._text() as lines:
            for number, line in enumerate(lines, start=1):
                if line.isspace():
                    continue
                try:
                    record = read_object(line)
                except ValueError as error:
                    raise self._refusal(f"line {number}", str(error)) from None
                yield f"line {number}", number, record


class CsvRows(_File):
    """A CSV file with a header. Every value is text; an empty cell is an empty text."""

    def read(self, keys: Sequence[str] | None) -> Iterator[tuple[str, int, Record]]:
        """Yield the rows. See ``Records.read``."""
        # The csv module's default limit would refuse a long document; it is set for the whole
        # process.
        csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))
        with self._text(newline="") as lines:
            rows = csv.reader(lines, strict=True)
            try:
                header = next(rows, None)
                if header is None:
                    return
                if len(set(header)) != len(header):
                    raise self._refusal("line 1", "the header names a column twice")
                number = rows.line_num + 1
                for row in rows:
                    if row:
                        place = f"line {number}"
                        if len(row) != len(header):
                            raise self._refusal(
                                place, f"{len(row)} cells, but the header has {len(header)}"
                            )
                        yield place, number, dict(zip(header, row, strict=True))
                    number = rows.line_num + 1
            except csv.Error as error:
                raise self._refusal(f"line {rows.line_num}", f"not CSV: {error}") from None


class ParquetRows(_File):
    """A Parquet file, read a batch of rows at a time, and only the needed columns.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self._parquet = _arrow("pyarrow.parquet", f"reading '{self.path.name}'")
        self._error: type[Exception] = _arrow("pyarrow", "").ArrowException

    def read(self, keys: Sequence[str] | None) -> Iterator[tuple[str, int, Record]]:
        """Yield the rows. See ``Records.read``."""
        number = 0
        try:
            with closing(self._parquet.ParquetFile(self.path, buffer_size=_BUFFER)) as file:
                there = file.schema_arrow.names
                if len(set(there)) != len(there):
                    raise self._refusal("schema", "it names a column twice")
                columns = None if keys is None else [name for name in there if name in keys]
                batches = file.iter_batches(batch_size=_BATCH, columns=columns, use_threads=False)
                for batch in batches:
                    for record in batch.to_pylist():
                        number += 1
                        yield f"row {number}", number, record
        except self._error as error:
            place = "row 1" if not number else f"after row {number}"
            raise self._refusal(place, f"not Parquet: {_first_line(error)}") from None
        except OSError as error:
            said = error.strerror or _first_line(error)
            raise DefinitionError(f"{self.path} cannot be read: {said}") from None


FORMS: dict[str, Callable[[str | Path], Records]] = {
    "jsonl": JsonLines,
    "csv": CsvRows,
    "parquet": ParquetRows,
}
_SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}
KNOWN_SUFFIXES = (
    *_SUFFIXES,
    *(f"{one}{packed}" for one in (".jsonl", ".csv") for packed in _PACKED),
)


def form_of(path: str | Path) -> str | None:
    """Return a file's form by its extension: "jsonl", "csv" or "parquet"; None for others."""
    path = Path(path)
    is_packed = path.suffix.lower() in _PACKED
    form = _SUFFIXES.get((path.with_suffix("") if is_packed else path).suffix.lower())
    return None if is_packed and form == "parquet" else form


def _arrow(module: str, needed_for: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        raise MissingExtraError(extra="parquet", needed_for=needed_for) from None


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0]
