"""Making cases of records: which key is the input, which the gold answer, which the id.

A source is read again in each pass, and no cases are kept in memory. An error names the file or
data set, the line or row, and the key.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date, time
from pathlib import Path
from typing import Any, NoReturn

from themis.core.errors import DefinitionError, did_you_mean
from themis.core.hashing import check_json, digest_value
from themis.core.models import Case, CaseSource
from themis.data.files import FORMS, Record, Records
from themis.data.hub import HubRows
from themis.data.spool import Spool

DEFAULT_EXPECTED = "expected_output"
DEFAULT_ID = "case_id"
_ROWS = 1 << 16
Key = str | Sequence[str] | Callable[[Record], Any] | None


class RecordSource:
    """Cases made of records.

    A key gives its value; a list of keys gives an object of their values; a function is called with
    the record. The other keys become the case's metadata, or those of them that ``metadata_keys``
    names. The id of a record without the id key is its input's digest, so that rows can be added,
    removed and reordered without changing the other cases; the second of equal inputs has "#2"
    appended. A key other than the default must be in the first record. Dates and times in metadata
    become ISO 8601 text; what else is no JSON is left out of it, unless ``metadata_keys`` names it.

    Args:
        records: the source of the records.
        given: the input: a key, a list of keys, or a function.
        expected: the expected output, likewise; None for none.
        case_id: the case id: a key or a function; None for the input's digest.
        metadata_keys: the keys that become metadata; None for all other keys.
    """

    def __init__(
        self,
        records: Records,
        *,
        given: Key = "input",
        expected: Key = DEFAULT_EXPECTED,
        case_id: Key = DEFAULT_ID,
        metadata_keys: Sequence[str] | None = None,
    ) -> None:
        if given is None:
            raise DefinitionError("input is None: name the key of the input", field="input")
        self._records = records
        self._given = _checked("input", given)
        self._expected = _checked("expected_output", expected)
        self._id = _checked("case_id", case_id)
        if isinstance(self._id, list):
            raise DefinitionError(
                f"case_id is {self._id!r}: give one key, or a function of the record",
                field="case_id",
            )
        self._metadata = None if metadata_keys is None else _names("metadata_keys", metadata_keys)
        self._used: set[str] = set()
        for key in (self._given, self._expected, self._id):
            if key is not None and not callable(key):
                self._used.update([key] if isinstance(key, str) else key)

    @property
    def name(self) -> str:
        """Default name of a dataset of these cases."""
        return self._records.name

    def __iter__(self) -> Iterator[Case]:
        """Yield the cases in the records' order.

        Raises:
            DefinitionError: a record cannot be read; the message names place and key.
        """
        is_first = True
        seen = _Inputs()
        for place, _, record in self._records.read(self._keys()):
            if is_first:
                self._check_keys(place, record)
                is_first = False
            yield self._case(place, record, seen)

    def _keys(self) -> list[str] | None:
        """Return the keys that are needed; None if all may be."""
        if self._metadata is None:
            return None
        mapped = (self._given, self._expected, self._id)
        return None if any(map(callable, mapped)) else [*self._metadata, *self._used]

    def _check_keys(self, place: str, record: Record) -> None:
        chosen = list(self._metadata or ())
        chosen += [
            key
            for key, default in ((self._expected, DEFAULT_EXPECTED), (self._id, DEFAULT_ID))
            if isinstance(key, str) and key != default
        ]
        for key in chosen:
            if key not in record:
                self._refuse_missing(place, key, record)

    def _case(self, place: str, record: Record, seen: _Inputs) -> Case:
        fields = {
            "input": self._value("input", self._given, place, record),
            "expected_output": self._value("expected_output", self._expected, place, record),
            "metadata": self._rest(record),
        }
        case_id = self._value("case_id", self._id, place, record)
        if case_id is None or case_id == "":
            case_id = seen.id_of(fields["input"])
        if type(case_id) not in (int, str):
            named = f"'{self._id}'" if isinstance(self._id, str) else "case_id"
            self._refuse(place, f"{named} is {case_id!r}: an id is text or an integer", "case_id")
        try:
            try:
                return Case(case_id=str(case_id), **fields)
            except DefinitionError:
                if self._metadata is None:  # nobody asked for it by name
                    fields["metadata"] = _only_json(fields["metadata"])
                return Case(case_id=str(case_id), **fields)
        except DefinitionError as error:
            keys = {"input": self._given, "expected_output": self._expected}
            key = keys.get(error.field or "")
            told = f" (key '{key}')" if isinstance(key, str) and key != error.field else ""
            self._refuse(place, f"{error}{told}", error.field)

    def _value(self, field: str, key: Key, place: str, record: Record) -> Any:
        if key is None:
            return None
        if isinstance(key, str):
            if field == "input" and key not in record:
                self._refuse_missing(place, key, record)
            return record.get(key)
        if callable(key):
            try:
                return key(dict(record))
            except Exception as error:
                raise DefinitionError(
                    f"{self._where(place)}: the function for {field} raised "
                    f"{type(error).__name__}: {error}",
                    field=field,
                ) from error
        for one in key:
            if one not in record:
                self._refuse_missing(place, one, record)
        return {one: record[one] for one in key}

    def _rest(self, record: Record) -> Record:
        if self._metadata is not None:
            return {key: _dated(record[key]) for key in self._metadata if key in record}
        return {key: _dated(value) for key, value in record.items() if key not in self._used}

    def _refuse_missing(self, place: str, key: str, record: Record) -> NoReturn:
        self._refuse(place, f"no key '{key}'{did_you_mean(key, record)}", key)

    def _refuse(self, place: str, what: str, field: str | None) -> NoReturn:
        raise DefinitionError(f"{self._where(place)}: {what}", field=field) from None

    def _where(self, place: str) -> str:
        return f"{getattr(self._records, 'path', self._records.name)} {place}"


def _dated(value: Any) -> Any:
    """Return a date or a time as ISO 8601 text, and any other value as it is."""
    return value.isoformat() if isinstance(value, (date, time)) else value


def _only_json(metadata: Record) -> Record:
    """Return the metadata without what is no JSON, such as bytes."""
    kept = {}
    for key, value in metadata.items():
        with suppress(TypeError, ValueError):
            kept[key] = check_json(value)
    return kept


def file_source(
    path: str | Path, form: str, options: Mapping[str, Any] | None = None, **mapping: Any
) -> RecordSource:
    """Return the cases of a data file.

    Args:
        path: the file; all but "parquet" may be compressed (.gz, .zst).
        form: a key of ``FORMS``.
        options: the reader's own, such as a CSV file's delimiter.
        **mapping: see ``RecordSource``.

    Raises:
        DefinitionError: there is no such file.
        MissingExtraError: pyarrow is needed and not installed.
    """
    return RecordSource(FORMS[form](path, **options or {}), **mapping)


def hub_source(path: Any, options: Mapping[str, Any], **mapping: Any) -> RecordSource:
    """Return the cases of a data set that ``datasets`` loads. See ``HubRows``."""
    return RecordSource(HubRows(path, **options), **mapping)


def again(source: Any) -> CaseSource:
    """Return a source of cases that can be read more than once.

    An iterable is iterated again, and a function is called again, in each pass. An iterator, which
    can be read only once, is saved to a temporary file while it is read.

    Args:
        source: an iterable of cases (or of mappings with their fields), an iterator, or a function
            that returns one.

    Raises:
        DefinitionError: it is none of these.
    """
    if isinstance(source, Iterator):
        return Spool(as_cases(source))
    if isinstance(source, (str, bytes, Mapping)) or not (
        isinstance(source, Iterable) or callable(source)
    ):
        raise DefinitionError(
            f"source is {type(source).__name__}: give an iterable of cases, or a function that "
            "returns one",
            field="source",
        )
    return ReiterableSource(source)


class ReiterableSource:
    """A source that iterates an iterable, or calls a function that returns one, in each pass."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self._last: Any = None

    def __iter__(self) -> Iterator[Case]:
        source = self._source
        items = source if isinstance(source, Iterable) else source()
        if not isinstance(items, Iterable):
            raise DefinitionError(
                f"the source's function returned {type(items).__name__}, not an iterable of cases",
                field="source",
            )
        if items is self._last and isinstance(items, Iterator):
            raise DefinitionError(
                "the source's function returned the same iterator twice, which is read once; "
                "let it make a new one each time",
                field="source",
            )
        self._last = items
        return as_cases(items)


def as_cases(
    items: Iterable[Any], place: Callable[[int], str] = lambda number: f"case {number}"
) -> Iterator[Case]:
    """Yield cases; mappings are converted, and those without ``case_id`` numbered from 1.

    Args:
        items: cases, or mappings with a case's fields.
        place: names an item in messages, by its number.

    Raises:
        DefinitionError: an item is neither a case nor a mapping.
    """
    for number, item in enumerate(items, start=1):
        if isinstance(item, Case):
            yield item
        elif isinstance(item, Mapping):
            try:
                yield Case.read({"case_id": str(number), **item})
            except DefinitionError as error:
                raise DefinitionError(f"{place(number)}: {error}", field=error.field) from None
        else:
            raise DefinitionError(
                f"{place(number)} is {type(item).__name__}; it must be a Case, or a mapping with "
                "'input'",
                field="source",
                value=item,
            )


class _Inputs:
    """How often each input came before, in 8 bytes an input, and more for those that repeat."""

    def __init__(self) -> None:
        self._new: set[int] = set()
        self._sorted: list[array[int]] = []
        self._again: Counter[int] = Counter()

    def id_of(self, given: Any) -> str:
        """Return the id of a case that is given none: its input's digest, and which one it is."""
        try:
            name = digest_value("row", given).hex()[:16]
        except DefinitionError:  # what makes it no input is told where the case is made
            return "row"
        short = int(name, 16)
        if not self._came_before(short):
            self._new.add(short)
            if len(self._new) == _ROWS:
                self._sorted.append(array("Q", sorted(self._new)))
                self._new.clear()
            return name
        self._again[short] += 1
        return f"{name}#{self._again[short] + 1}"

    def _came_before(self, short: int) -> bool:
        if short in self._new:
            return True
        for one in self._sorted:
            place = bisect_left(one, short)
            if place < len(one) and one[place] == short:
                return True
        return False


def _checked(field: str, key: Key) -> Key:
    """Return a checked key; several keys as a list."""
    if key is None or callable(key):
        return key
    if isinstance(key, str):
        if not key:
            raise DefinitionError(f"{field} is '': name a key", field=field)
        return key
    return _names(field, key)


def _names(field: str, keys: Any) -> list[str]:
    wrong = isinstance(keys, str) or not isinstance(keys, Sequence)
    if wrong or not all(isinstance(one, str) and one for one in keys):
        raise DefinitionError(f"{field} is {keys!r}: it must be a list of keys", field=field)
    if len(set(keys)) < len(keys) or (not keys and field != "metadata_keys"):
        raise DefinitionError(
            f"{field} is {list(keys)!r}: name one key or more, each once", field=field
        )
    return list(keys)
