"""Data files as other people write them: other delimiters, other encodings, arrays.

Covers: themis.data.files, themis.data.exact_json
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from themis.core.errors import ConfigError, DefinitionError
from themis.core.models import Dataset
from themis.experiment.config.file import read_dataset

LATIN = "input;expected_output\nChâteau;café\n".encode("latin-1")
EXPECTED = [("Château", "café")]


def _facts(dataset: Dataset) -> list[tuple[Any, Any]]:
    return [(case.input, case.expected_output) for case in dataset]


def _written(path: Path, data: bytes | str) -> Path:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def test_a_csv_of_another_delimiter_and_encoding_is_read_in_python_and_in_a_config(
    tmp_path: Path,
) -> None:
    path = _written(tmp_path / "d.csv", LATIN)
    how = {"delimiter": ";", "encoding": "latin-1"}
    assert _facts(Dataset.from_csv(path, **how)) == EXPECTED
    assert _facts(read_dataset({"path": str(path), **how}, "datasets[0]")) == EXPECTED


@pytest.mark.parametrize("packed", [False, True])
def test_cells_of_a_tsv_are_divided_by_tabs(tmp_path: Path, packed: bool) -> None:
    text = b"input\texpected_output\na, b\tc\n"
    name, data = ("d.tsv.gz", gzip.compress(text)) if packed else ("d.tsv", text)
    path = _written(tmp_path / name, data)
    assert _facts(read_dataset({"path": str(path)}, "datasets[0]")) == [("a, b", "c")]


def test_a_json_file_is_an_array_of_objects(tmp_path: Path) -> None:
    path = _written(
        tmp_path / "d.json", '[\n {"input": 12345678901234567890123, "expected_output": null}\n]'
    )
    assert _facts(Dataset.from_json(path)) == [(12345678901234567890123, None)]
    assert _facts(read_dataset({"path": str(path)}, "datasets[0]")) == _facts(
        Dataset.from_json(path)
    )


@pytest.mark.parametrize(
    ("name", "data", "options", "said"),
    [
        ("d.csv", LATIN, {}, r"line 2 is not UTF-8 text: .*encoding='latin-1'"),
        ("d.csv", LATIN, {"encoding": "ascii"}, "line 2 is not ASCII text"),
        (
            "d.csv",
            "input;expected_output\na;b\n",
            {},
            r"line 1: the header is one column, .*give delimiter=';'",
        ),
        ("d.tsv", "input,expected_output\na,b\n", {}, "give delimiter=','"),
        ("d.csv", "input\n", {"delimiter": ";;"}, "delimiter = ';;': must be one character"),
        ("d.csv", "input\n", {"encoding": "latin1x"}, "there is no such encoding"),
        ("d.csv", "input\n", {"encoding": "zip"}, "there is no such encoding"),
        ("d.jsonl", b'{"input": "\xe9"}\n', {}, "line 1 is not UTF-8 text: .*; save it as UTF-8"),
        ("d.json", '{"input": 1}', {}, "a JSON array is wanted, not a dict"),
        ("d.json", '[{"input": 1}, 2]', {}, "item 2: a JSON object is wanted, not a int"),
        ("d.json", '[{"input": 1, "input": 2}]', {}, "'input'"),
        ("d.json", "[", {}, "not JSON"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place_and_the_way_out(
    tmp_path: Path, name: str, data: bytes | str, options: dict[str, str], said: str
) -> None:
    path = _written(tmp_path / name, data)
    with pytest.raises(DefinitionError, match=said):
        list(read_dataset({"path": str(path), **options}, "datasets[0]"))


def test_a_csv_of_one_column_with_its_delimiter_named_is_read(tmp_path: Path) -> None:
    path = _written(tmp_path / "d.csv", "a;b\nc\n")
    read = Dataset.from_csv(path, input="a;b", delimiter=",")
    assert [case.input for case in read] == ["c"]


def test_only_a_csv_file_has_a_delimiter(tmp_path: Path) -> None:
    path = _written(tmp_path / "d.jsonl", '{"input": 1}\n')
    with pytest.raises((ConfigError, DefinitionError), match=r"delimiter is for \.csv and \.tsv"):
        read_dataset({"path": str(path), "delimiter": ";"}, "datasets[0]")
