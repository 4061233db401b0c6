"""Making the cases of an iterator readable repeatedly.

The cases read so far are kept in a temporary file, not in memory. The file disappears with the
source or with the process, however it ends.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from typing import IO

from themis.core.errors import DefinitionError
from themis.core.hashing import decode, encode
from themis.core.models import Case

_BATCH = 256


class Spool:
    """The cases of an iterator, each read from it once, when first needed.

    Args:
        cases: the iterator; it must not be read elsewhere.
    """

    def __init__(self, cases: Iterator[Case]) -> None:
        self._cases: Iterator[Case] | None = cases
        self._file: IO[bytes] | None = None
        self._size = 0
        self._failure: BaseException | None = None
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Case]:
        """Yield the cases from the first one on.

        Raises:
            DefinitionError: the iterator raised before its end; it cannot be read again.
        """
        place = 0
        while True:
            with self._lock:
                lines, place = self._lines(place)
            for line in lines:
                case_id, given, expected, metadata = decode(line)
                yield Case(
                    case_id=case_id, input=given, expected_output=expected, metadata=metadata
                )
            if not lines:
                return

    def _lines(self, place: int) -> tuple[list[bytes], int]:
        """Return a batch of lines from an offset in the file, and the offset after them."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="themis-")  # noqa: SIM115 - lives as long as this
        if place == self._size:
            self._spool()
        self._file.seek(place)
        lines = [line for _ in range(_BATCH) if (line := self._file.readline())]
        return lines, place + sum(map(len, lines))

    def _spool(self) -> None:
        """Read the next batch from the iterator into the file."""
        if self._cases is None:
            return
        if self._failure is not None:
            error = self._failure
            raise DefinitionError(
                f"the source's iterator raised {type(error).__name__} when it was first read "
                f"({error}), and cannot be asked again",
                field="source",
            ) from error
        assert self._file is not None
        self._file.seek(self._size)
        for _ in range(_BATCH):
            try:
                case = next(self._cases)
            except StopIteration:
                self._cases = None
                break
            except BaseException as error:
                self._failure = error
                raise
            parts = [case.case_id, case.input, case.expected_output, case.metadata]
            self._size += self._file.write(encode(parts) + b"\n")
