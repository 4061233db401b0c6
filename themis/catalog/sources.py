"""Reading cases from data files: JSON Lines and CSV, one line at a time, as often as asked.

Nothing is held in memory, nothing is guessed and nothing is fetched from anywhere. An error names
the file, the line and the key.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from themis.core.errors import DefinitionError, did_you_mean
from themis.core.models import Case

DEFAULT_EXPECTED = "expected_output"
DEFAULT_ID = "case_id"


class _TwiceError(Exception):
    """A JSON object has a key twice: which of the values is meant, nobody can say."""


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _TwiceError(f"the key '{twice}' stands twice")
    return found


class FileSource:
    """The cases of one file, read anew at each iteration.

    Keys that are not asked for become the case's metadata. A case without the id key goes by the
    number of its line. A key that was chosen (that is not the default) must be in the first record.

    Args:
        path: the file.
        form: "jsonl" or "csv".
        input_key: key of the input.
        expected_key: key of the expected output; None for none.
        id_key: key of the case id; None for line numbers.
    """

    def __init__(
        self,
        *,
        path: str | Path,
        form: str,
        input_key: str = "input",
        expected_key: str | None = DEFAULT_EXPECTED,
        id_key: str | None = DEFAULT_ID,
    ) -> None:
        self._path = Path(path)
        if form not in ("jsonl", "csv"):
            raise DefinitionError(f"form = {form!r}: must be 'jsonl' or 'csv'", field="form")
        if not self._path.is_file():
            what = "a folder" if self._path.is_dir() else "not there"
            raise DefinitionError(f"data file '{path}' is {what}", field="path", value=str(path))
        self._form = form
        self._input_key = input_key
        self._expected_key = expected_key
        self._id_key = id_key

    @property
    def stem(self) -> str:
        """The file's name without its ending."""
        return self._path.stem

    def __iter__(self) -> Iterator[Case]:
        """Yield the cases in the file's order.

        Raises:
            DefinitionError: a line cannot be read; the message names file, line and key.
        """
        records = self._json_lines() if self._form == "jsonl" else self._csv_rows()
        is_first = True
        try:
            for line, record in records:
                if is_first:
                    self._check_keys(line, record)
                    is_first = False
                yield self._case(line, record)
        except UnicodeDecodeError as error:
            raise DefinitionError(f"{self._path} is not UTF-8 text: {error.reason}") from None
        except OSError as error:
            raise DefinitionError(f"{self._path} cannot be read: {error.strerror}") from None

    def _json_lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        with self._path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    record = json.loads(line, object_pairs_hook=_once_each)
                except _TwiceError as error:
                    raise self._error(number, str(error)) from None
                except (ValueError, RecursionError) as error:
                    raise self._error(number, f"not JSON: {error}") from None
                if not isinstance(record, dict):
                    kind = type(record).__name__
                    raise self._error(number, f"a JSON object is wanted, not a {kind}")
                yield number, record

    def _csv_rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        with self._path.open(encoding="utf-8-sig", newline="") as lines:
            rows = csv.reader(lines, strict=True)
            try:
                header = next(rows, None)
                if header is None:
                    return
                if len(set(header)) != len(header):
                    raise self._error(1, "the header names a column twice")
                number = rows.line_num + 1
                for row in rows:
                    if row:
                        if len(row) != len(header):
                            raise self._error(
                                number, f"{len(row)} cells, but the header has {len(header)}"
                            )
                        yield number, dict(zip(header, row, strict=True))
                    number = rows.line_num + 1
            except csv.Error as error:
                raise self._error(rows.line_num, f"not CSV: {error}") from None

    def _check_keys(self, line: int, record: dict[str, Any]) -> None:
        chosen = [
            key
            for key, default in ((self._expected_key, DEFAULT_EXPECTED), (self._id_key, DEFAULT_ID))
            if key is not None and key != default
        ]
        for key in chosen:
            if key not in record:
                raise self._error(line, f"no key '{key}'{did_you_mean(key, record)}", field=key)

    def _case(self, line: int, record: dict[str, Any]) -> Case:
        rest = dict(record)
        if self._input_key not in rest:
            hint = did_you_mean(self._input_key, rest)
            raise self._error(line, f"no key '{self._input_key}'{hint}", field=self._input_key)
        given = rest.pop(self._input_key)
        expected = rest.pop(self._expected_key, None) if self._expected_key is not None else None
        case_id = rest.pop(self._id_key, None) if self._id_key is not None else None
        if case_id is None or case_id == "":
            case_id = line
        if type(case_id) not in (int, str):
            raise self._error(line, f"'{self._id_key}' is {case_id!r}: an id is text or an integer")
        try:
            return Case(case_id=str(case_id), input=given, expected_output=expected, metadata=rest)
        except DefinitionError as error:
            raise self._error(line, str(error), field=error.field) from None

    def _error(self, line: int, what: str, field: str | None = None) -> DefinitionError:
        return DefinitionError(f"{self._path} line {line}: {what}", field=field)
