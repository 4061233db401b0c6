"""The rows of a data set that the library ``datasets`` loads: from the hub, a folder, or memory.

Downloads and their cache are managed by that library. Nothing is loaded before the first row is
read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from themis.core.errors import DefinitionError, MissingExtraError, did_you_mean
from themis.data.files import Record


class HubRows:
    """Rows of a data set that the library ``datasets`` loads, once, when they are first read.

    Args:
        path: a name on the Hugging Face hub, a folder, or a data set that is loaded already.
        options: arguments of ``datasets.load_dataset``: name, split, revision, streaming.

    Raises:
        MissingExtraError: ``datasets`` is not installed.
    """

    def __init__(self, path: Any, **options: Any) -> None:
        try:
            self._library: Any = import_module("datasets")
        except ImportError:
            raise MissingExtraError(
                extra="huggingface", needed_for="Dataset.from_huggingface"
            ) from None
        self._path = path
        self._options = {key: value for key, value in options.items() if value is not None}
        self._loaded: Any = None
        if isinstance(path, (str, Path)):
            parts = [Path(path).name if Path(path).is_dir() else str(path)]
            facts = [options.get("name"), options.get("split")]
        else:
            self._loaded = path
            parts = ["huggingface"]
            facts = [getattr(path, "config_name", None), getattr(path, "split", None)]
        self.name = ":".join([*parts, *(str(one) for one in facts if one is not None)])

    def read(self, keys: Sequence[str] | None) -> Iterator[tuple[str, int, Record]]:
        """Yield the rows. See ``Records.read``."""
        rows = self._load()
        number = 0
        try:
            if keys is not None and rows.column_names is not None:
                rows = rows.select_columns([name for name in rows.column_names if name in keys])
            for number, row in enumerate(rows, start=1):
                yield f"row {number}", number, dict(row)
        except Exception as error:
            raise self._refusal(f"cannot be read after row {number}", error) from error

    def _load(self) -> Any:
        if self._loaded is None:
            try:
                self._loaded = self._open()
            except DefinitionError:
                raise
            except Exception as error:
                raise self._refusal("cannot be loaded", error) from error
        if isinstance(self._loaded, Mapping):
            if len(self._loaded) != 1:
                raise DefinitionError(
                    f"data set '{self.name}' has the splits {', '.join(self._loaded)}: "
                    "choose one with split=",
                    field="split",
                )
            (self._loaded,) = self._loaded.values()
        return self._loaded

    def _open(self) -> Any:
        """Load a folder written by ``save_to_disk``, or else call ``load_dataset``."""
        folder = Path(self._path)
        is_saved = any((folder / one).is_file() for one in ("state.json", "dataset_dict.json"))
        if not is_saved:
            return self._library.load_dataset(str(self._path), **self._options)
        loaded = self._library.load_from_disk(str(folder))
        split = self._options.get("split")
        if split is None or not isinstance(loaded, Mapping):
            return loaded
        if split not in loaded:
            raise DefinitionError(
                f"data set '{folder}' has no split '{split}'{did_you_mean(split, loaded)}",
                field="split",
                value=split,
            )
        return loaded[split]

    def _refusal(self, what: str, error: Exception) -> DefinitionError:
        said = str(error).strip().split("\n", 1)[0]
        return DefinitionError(
            f"data set '{self.name}' {what}: {type(error).__name__}: {said}", field="path"
        )
