"""Data sets of the library ``datasets``: loaded when first read, from a folder here.

Covers: themis.data, themis.data.hub
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from themis.core.errors import DefinitionError, MissingExtraError
from themis.core.models import Dataset

ROWS: list[dict[str, Any]] = [
    {"id": f"r{n}", "question": f"{n}+1", "answer": str(n + 1), "deep": {"tags": ["é", None]}}
    for n in range(20)
]
KEYS: dict[str, Any] = {"input": "question", "expected_output": "answer", "case_id": "id"}


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'themis-eval\[huggingface\]'"):
        Dataset.from_huggingface("squad")


class TestLoading:
    """With the library itself, and nothing from any network."""

    @pytest.fixture(autouse=True)
    def _library(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        self.library: Any = pytest.importorskip("datasets")
        monkeypatch.setattr(self.library.config, "HF_DATASETS_CACHE", tmp_path / "cache")
        self.library.disable_progress_bars()

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "sums"
        folder.mkdir()
        for split, rows in (("train", ROWS[:15]), ("test", ROWS[15:])):
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / f"{split}.jsonl").write_text(text, encoding="utf-8")
        return folder

    @pytest.mark.parametrize("streaming", [False, True])
    def test_a_folder_of_data_files_is_loaded(self, folder: Path, streaming: bool) -> None:
        data = Dataset.from_huggingface(str(folder), split="test", streaming=streaming, **KEYS)
        assert data.dataset_id == "sums:test"
        cases = list(data)
        assert [case.case_id for case in cases] == [f"r{n}" for n in range(15, 20)]
        assert (cases[0].input, cases[0].expected_output) == ("15+1", "16")
        assert cases[0].metadata == {"deep": {"tags": ["é", None]}}
        assert list(data) == cases

    def test_what_was_saved_to_disk_is_loaded_with_and_without_splits(self, tmp_path: Path) -> None:
        rows = self.library.Dataset.from_list(ROWS)
        rows.save_to_disk(str(tmp_path / "one"))
        self.library.DatasetDict({"a": rows, "b": rows.take(2)}).save_to_disk(str(tmp_path / "two"))
        assert len(list(Dataset.from_huggingface(tmp_path / "one", **KEYS))) == 20
        assert len(list(Dataset.from_huggingface(tmp_path / "two", split="b", **KEYS))) == 2
        with pytest.raises(DefinitionError, match="has the splits a, b: choose one with split="):
            list(Dataset.from_huggingface(tmp_path / "two", **KEYS))
        with pytest.raises(DefinitionError, match="no split 'bb'; did you mean 'b'"):
            list(Dataset.from_huggingface(tmp_path / "two", split="bb", **KEYS))

    def test_the_only_split_there_is_need_not_be_named(self, folder: Path) -> None:
        (folder / "test.jsonl").unlink()
        data = Dataset.from_huggingface(str(folder), **KEYS)
        assert data.dataset_id == "sums"
        assert len(list(data)) == 15

    def test_one_that_is_loaded_already_is_taken_as_it_is(self) -> None:
        rows = self.library.Dataset.from_list(ROWS)
        data = Dataset.from_huggingface(rows, **KEYS, metadata_keys=[], dataset_id="mine")
        assert data.dataset_id == "mine"
        assert [case.metadata for case in data] == [{}] * 20

    def test_nothing_is_loaded_before_it_is_read_and_once_then(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        loads: list[str] = []
        whole = self.library.load_dataset

        def load(path: str, **options: Any) -> Any:
            loads.append(path)
            return whole(path, **options)

        monkeypatch.setattr(self.library, "load_dataset", load)
        data = Dataset.from_huggingface(str(folder), split="train", **KEYS)
        assert loads == []
        assert list(data.take(2)) == list(data)[:2]
        assert len(loads) == 1

    def test_what_cannot_be_loaded_is_told_with_its_name(self, tmp_path: Path) -> None:
        data = Dataset.from_huggingface(str(tmp_path / "nowhere"), split="test")
        with pytest.raises(DefinitionError, match=r"data set '.*nowhere:test' cannot be loaded: "):
            list(data)

    def test_an_error_names_row_and_key(self) -> None:
        rows = self.library.Dataset.from_list([{"input": 1.0}, {"input": float("nan")}])
        with pytest.raises(DefinitionError, match=r"huggingface row 2: Case.input is nan"):
            list(Dataset.from_huggingface(rows))
