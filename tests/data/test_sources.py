"""Data files are read lazily and again, and errors name file, line and key.

Covers: themis.data.sources
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from themis.core.errors import DefinitionError
from themis.core.models import Dataset
from themis.data.sources import file_source


def _file(tmp_path: Path, name: str, text: str) -> str:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_json_lines_become_cases_as_often_as_asked(tmp_path: Path) -> None:
    path = _file(
        tmp_path,
        "sums.jsonl",
        '{"case_id": 1, "input": "1+1", "expected_output": 2, "level": "easy"}\n\n'
        '{"input": {"q": "2+2"}}\n'
        '{"case_id": "c", "input": 123456789012345678901234567890}\n',
    )
    dataset = Dataset.from_jsonl(path)
    assert dataset.dataset_id == "sums"
    first = list(dataset)
    assert [case.case_id for case in first] == ["1", "d62bd59a4da8b440", "c"]
    assert (first[0].expected_output, first[0].metadata) == (2, {"level": "easy"})
    assert (first[1].expected_output, first[1].input) == (None, {"q": "2+2"})
    assert first[2].input == 123456789012345678901234567890
    assert list(dataset) == first


def test_csv_rows_become_cases_with_text_values(tmp_path: Path) -> None:
    path = _file(
        tmp_path,
        "data.csv",
        '\ufeffquestion,answer,id,tag\n"a, b",4,7,x\n"two\nlines",5,,y\nq,6,9,z\n',
    )
    dataset = Dataset.from_csv(path, input="question", expected_output="answer", case_id="id")
    cases = list(dataset)
    assert [case.case_id for case in cases] == ["7", "0fcea610e7c25b02", "9"]
    assert cases[0].input == "a, b"
    assert cases[0].expected_output == "4"
    assert cases[1].metadata == {"tag": "y"}


def test_reading_holds_one_line_at_a_time(tmp_path: Path) -> None:
    path = _file(tmp_path, "big.jsonl", '{"input": "x"}\nnot json\n')
    cases = iter(file_source(path, "jsonl"))
    assert next(cases).input == "x"  # the broken line is not looked at before its turn
    with pytest.raises(DefinitionError, match="line 2: not JSON"):
        next(cases)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"inptu": "x"}\n', "line 1: no key 'input'; did you mean 'inptu'"),
        ("[1]\n", "line 1: a JSON object is wanted, not a list"),
        ('{"input": NaN}\n', "line 1: .*finite"),
        ('{"input": "x", "case_id": 1.5}\n', "line 1: 'case_id' is 1.5: an id is text or"),
        ('{"input": "x", "case_id": true}\n', "line 1: .case_id. is True"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = _file(tmp_path, "data.jsonl", text)
    with pytest.raises(DefinitionError, match=f"data.jsonl {said}"):
        list(file_source(path, "jsonl"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("input,x\n1\n", "line 2: 1 cells, but the header has 2"),
        ("input,input\n1,2\n", "line 1: the header names a column twice"),
        ("inputs\n1\n", "line 2: no key 'input'; did you mean 'inputs'"),
        ('input\n"open\n', "not CSV"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = _file(tmp_path, "data.csv", text)
    with pytest.raises(DefinitionError, match=said):
        list(file_source(path, "csv"))


@pytest.mark.parametrize("keys", [{"expected_output": "anwser"}, {"case_id": "idd"}])
def test_a_key_that_was_chosen_must_be_there(tmp_path: Path, keys: dict[str, Any]) -> None:
    path = _file(tmp_path, "data.jsonl", '{"input": "x", "answer": 1, "id": 2}\n')
    with pytest.raises(DefinitionError, match=r"line 1: no key '.*'; did you mean '(answer|id)'"):
        list(Dataset.from_jsonl(path, **keys))


def test_a_file_that_is_not_there_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="is not there"):
        Dataset.from_jsonl(str(tmp_path / "none.jsonl"))
    with pytest.raises(DefinitionError, match="is a folder"):
        Dataset.from_jsonl(str(tmp_path))


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(b'{"input": "\xff\xfe"}\n')
    with pytest.raises(DefinitionError, match="is not UTF-8 text"):
        list(file_source(path, "jsonl"))


def test_an_empty_file_has_no_cases(tmp_path: Path) -> None:
    assert list(file_source(_file(tmp_path, "a.csv", ""), "csv")) == []
    assert list(file_source(_file(tmp_path, "a.jsonl", ""), "jsonl")) == []


@pytest.mark.parametrize(
    "line", ['{"input": "a", "input": "b"}', '{"input": {"q": [{"deep": 1, "deep": 1}]}}']
)
def test_a_key_that_stands_twice_is_refused_with_its_line(tmp_path: Path, line: str) -> None:
    path = _file(tmp_path, "data.jsonl", '{"input": "first"}\n' + line + "\n")
    with pytest.raises(DefinitionError, match=r"line 2: the key '(input|deep)' stands twice"):
        list(Dataset.from_jsonl(path))


def test_cases_without_ids_go_by_their_inputs_wherever_they_stand(tmp_path: Path) -> None:
    def ids(*rows: str) -> dict[str, str]:
        lines = "".join(f"{row},x\n" for row in rows)
        path = _file(tmp_path, "rows.csv", f"q,a\n{lines}")
        cases = list(Dataset.from_csv(path, input="q", expected_output="a"))
        return {case.case_id: str(case.input) for case in cases}

    first = ids("a", "b", "c")
    assert {one: ids("z", "c", "b", "a")[one] for one in first} == first
    assert [one[16:] for one in ids("a", "b", "a", "a")] == ["", "", "#2", "#3"]
