"""Reading the records of JSON, JSON Lines, CSV and Parquet files.

Each pass opens the file again and keeps one line, or a batch of rows, in memory; a JSON file is one
array, and is read whole. A duplicate JSON key is refused, and a CSV cell is always text.
"""

from __future__ import annotations

import codecs
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
from themis.data.exact_json import read_array, read_object

Record = dict[str, Any]
_BATCH = 512
_BUFFER = 1 << 20
_LONGEST_CELL = (1 << 31) - 1
_PACKED = (".gz", ".zst")
_OTHER_DELIMITERS = (";", "\t", "|", ",")


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

    encoding = "utf-8"

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            what = "a folder" if self.path.is_dir() else "not there"
            raise DefinitionError(f"data file '{path}' is {what}", field="path", value=str(path))
        self.name = _bare(self.path).stem

    def _refusal(self, place: str, what: str) -> DefinitionError:
        return DefinitionError(f"{self.path} {place}: {what}")

    @contextmanager
    def _text(self, newline: str | None = None) -> Iterator[TextIO]:
        """Open the file as text, decompressed; errors while reading it name the file."""
        try:
            with (
                self._bytes() as raw,
                io.TextIOWrapper(raw, encoding=self._codec, newline=newline) as lines,
            ):
                yield lines
        except UnicodeDecodeError as error:
            raise self._misread(error) from None
        except (EOFError, zlib.error) as error:
            raise DefinitionError(f"{self.path} is broken: {error}") from None
        except OSError as error:
            said = error.strerror or str(error)
            raise DefinitionError(f"{self.path} cannot be read: {said}") from None

    @property
    def _codec(self) -> str:
        """The codec of the text, which leaves out a byte order mark."""
        return "utf-8-sig" if codecs.lookup(self.encoding).name == "utf-8" else self.encoding

    def _misread(self, error: UnicodeError) -> DefinitionError:
        """Return the error that names the first line that is no text in the encoding."""
        place = ""
        with self._bytes() as raw:
            for number, line in enumerate(raw, start=1):
                try:
                    line.decode(self._codec)
                except UnicodeDecodeError as found:
                    place, error = f" line {number}", found
                    break
        said = f"{self.path}{place} is not {self.encoding.upper()} text: {error}"
        return DefinitionError(f"{said}; {self._way_out}")

    _way_out = "save it as UTF-8"

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


class JsonArray(_File):
    """A JSON file that holds one array of objects; it is read whole."""

    def read(self, keys: Sequence[str] | None) -> Iterator[tuple[str, int, Record]]:
        """Yield the objects. See ``Records.read``."""
        with self._text() as text:
            whole = text.read()
        try:
            records = read_array(whole)
        except ValueError as error:
            raise DefinitionError(f"{self.path}: {error}") from None
        for number, record in enumerate(records, start=1):
            if type(record) is not dict:
                what = f"a JSON object is wanted, not a {type(record).__name__}"
                raise self._refusal(f"item {number}", what)
            yield f"item {number}", number, record


class CsvRows(_File):
    """A CSV file with a header. Every value is text; an empty cell is an empty text.

    Args:
        path: the file.
        delimiter: what stands between two cells; None for a tab in a .tsv file, else a comma.
        encoding: the text's encoding, by Python's name; UTF-8 by default.

    Raises:
        DefinitionError: there is no such file, or no such encoding, or the delimiter is not one
            character.
    """

    _way_out = "give its encoding, such as encoding='latin-1' or 'cp1252', or save it as UTF-8"

    def __init__(
        self, path: str | Path, delimiter: str | None = None, encoding: str | None = None
    ) -> None:
        super().__init__(path)
        try:
            "".encode(encoding or self.encoding)
        except (LookupError, ValueError):
            raise DefinitionError(
                f"encoding = {encoding!r}: there is no such encoding; try 'latin-1' or 'cp1252'",
                field="encoding",
                value=encoding,
            ) from None
        self.encoding = encoding or self.encoding
        if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
            raise DefinitionError(
                f"delimiter = {delimiter!r}: must be one character, such as ';' or a tab",
                field="delimiter",
                value=delimiter,
            )
        self._asked = delimiter
        self._delimiter = delimiter or ("\t" if _bare(self.path).suffix.lower() == ".tsv" else ",")

    def read(self, keys: Sequence[str] | None) -> Iterator[tuple[str, int, Record]]:
        """Yield the rows. See ``Records.read``."""
        # The csv module's default limit would refuse a long document; it is set for the whole
        # process.
        csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))
        with self._text(newline="") as lines:
            rows = csv.reader(lines, strict=True, delimiter=self._delimiter)
            try:
                header = next(rows, None)
                if header is None:
                    return
                self._check_header(header)
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

    def _check_header(self, header: list[str]) -> None:
        if len(set(header)) != len(header):
            raise self._refusal("line 1", "the header names a column twice")
        if self._asked is None and len(header) == 1:
            for other in _OTHER_DELIMITERS:
                if other in header[0]:
                    what = f"the header is one column, {header[0][:80]!r}"
                    raise self._refusal(
                        "line 1", f"{what}; if {other!r} divides it, give delimiter={other!r}"
                    )


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


FORMS: dict[str, Callable[..., Records]] = {
    "jsonl": JsonLines,
    "json": JsonArray,
    "csv": CsvRows,
    "parquet": ParquetRows,
}
_SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
}
KNOWN_SUFFIXES = (
    *_SUFFIXES,
    *(f"{one}{packed}" for one in (".jsonl", ".json", ".csv", ".tsv") for packed in _PACKED),
)


def form_of(path: str | Path) -> str | None:
    """Return a file's form by its extension, a key of ``FORMS``; None for others."""
    path = Path(path)
    form = _SUFFIXES.get(_bare(path).suffix.lower())
    return None if form == "parquet" and _bare(path) != path else form


def _bare(path: Path) -> Path:
    """Return a path without the extension of a compressed file."""
    return path.with_suffix("") if path.suffix.lower() in _PACKED else path


def _arrow(module: str, needed_for: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        raise MissingExtraError(extra="parquet", needed_for=needed_for) from None


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0]
