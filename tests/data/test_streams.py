"""Sources of any kind are read lazily and again, in any mapping, and once where once is all.

Covers: themis.core.models, themis.data, themis.data.files, themis.data.sources, themis.data.spool
"""

from __future__ import annotations

import builtins
import csv
import gc
import gzip
import io
import json
import os
import tempfile
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.runs import experiment
from themis import evaluate
from themis.core.errors import DefinitionError, MissingExtraError
from themis.core.models import Case, Dataset

ROWS: list[dict[str, Any]] = [
    {"id": "a", "question": "1+1", "context": "sums", "answer": "2", "level": 1},
    {"id": "b", "question": "1+2", "context": "sums", "answer": "3", "level": 2},
]
KEYS: dict[str, Any] = {"input": "question", "expected_output": "answer", "case_id": "id"}


def _parquet(path: Path, rows: list[dict[str, Any]], **options: Any) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path, **options)
    return path


def _jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


# ── Which key is what ─────────────────────────────────────────────────────────────────────────────


def test_a_key_a_list_of_keys_and_a_function_make_an_input(tmp_path: Path) -> None:
    path = _jsonl(tmp_path / "d.jsonl", ROWS)
    by_key = next(iter(Dataset.from_jsonl(path, **KEYS)))
    assert (by_key.case_id, by_key.input, by_key.expected_output) == ("a", "1+1", "2")
    assert by_key.metadata == {"context": "sums", "level": 1}

    several = {**KEYS, "input": ["question", "context"]}
    made = next(iter(Dataset.from_jsonl(path, **several)))
    assert made.input == {"question": "1+1", "context": "sums"}
    assert made.metadata == {"level": 1}

    functions: dict[str, Any] = {
        "input": lambda row: f"{row['context']}: {row['question']}",
        "expected_output": lambda row: int(row["answer"]),
        "case_id": lambda row: f"{row['id']}-{row['level']}",
    }
    made = next(iter(Dataset.from_jsonl(path, **functions, metadata_keys=["level"])))
    assert (made.case_id, made.input, made.expected_output) == ("a-1", "sums: 1+1", 2)
    assert made.metadata == {"level": 1}


def test_a_function_cannot_change_the_record_for_others(tmp_path: Path) -> None:
    path = _jsonl(tmp_path / "d.jsonl", ROWS)
    keys = {**KEYS, "input": lambda row: row.pop("context")}
    assert next(iter(Dataset.from_jsonl(path, **keys))).metadata["context"] == "sums"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"input": ["question", "contxt"]}, "line 1: no key 'contxt'; did you mean 'context'"),
        ({"metadata_keys": ["levle"]}, "line 1: no key 'levle'; did you mean 'level'"),
        (
            {"input": lambda row: row["nothing"]},
            "line 1: the function for input raised KeyError: 'nothing'",
        ),
        ({"input": lambda row: {1, 2}}, r"line 1: Case.input is set, not a JSON value"),
        ({"input": []}, r"input is \[\]: name one key or more"),
        ({"input": ["a", "a"]}, r"input is \['a', 'a'\]: name one key or more, each once"),
        ({"input": None}, "input is None: name the key"),
        ({"input": 3}, "input is 3: it must be a list of keys"),
        ({"metadata_keys": "level"}, "metadata_keys is 'level': it must be a list of keys"),
        ({"case_id": ["id", "level"]}, "give one key, or a function"),
    ],
)
def test_a_mapping_that_leads_nowhere_is_told(
    tmp_path: Path, keys: dict[str, Any], said: str
) -> None:
    path = _jsonl(tmp_path / "d.jsonl", ROWS)
    with pytest.raises(DefinitionError, match=said):
        list(Dataset.from_jsonl(path, **{**KEYS, **keys}))


# ── Forms of files ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("row_group_size", [1, 7, 100_000])
def test_parquet_rows_become_cases_as_often_as_asked(tmp_path: Path, row_group_size: int) -> None:
    rows = [{**ROWS[0], "id": f"r{n}", "level": n, "deep": {"x": [n, None]}} for n in range(1500)]
    path = _parquet(tmp_path / "d.parquet", rows, row_group_size=row_group_size)
    data = Dataset.from_parquet(path, **KEYS)
    assert data.dataset_id == "d"
    cases = list(data)
    assert [case.case_id for case in cases] == [f"r{n}" for n in range(1500)]
    assert cases[7].metadata == {"context": "sums", "level": 7, "deep": {"x": [7, None]}}
    assert list(data) == cases


def test_only_the_columns_that_are_named_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _parquet(tmp_path / "d.parquet", [{**ROWS[0], "raw": b"\xff"}])
    read: list[list[str] | None] = []
    whole = pq.ParquetFile.iter_batches

    def iter_batches(self: Any, *, columns: list[str] | None, **options: Any) -> Any:
        read.append(columns)
        return whole(self, columns=columns, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", iter_batches)
    assert next(iter(Dataset.from_parquet(path, **KEYS, metadata_keys=["level"]))).input == "1+1"
    assert read == [["id", "question", "answer", "level"]]


def test_metadata_that_is_no_json_stops_a_file_only_where_it_is_asked_for(tmp_path: Path) -> None:
    row = {**ROWS[0], "raw": b"\xff", "day": date(2026, 2, 28), "at": datetime(2026, 2, 28, 7)}
    path = _parquet(tmp_path / "d.parquet", [row])
    (case,) = Dataset.from_parquet(path, **KEYS)
    assert case.metadata == {
        "context": "sums",
        "level": 1,
        "day": "2026-02-28",
        "at": "2026-02-28T07:00:00",
    }
    said = r"d.parquet row 1: Case.metadata.raw is bytes, not a JSON value; decode it"
    with pytest.raises(DefinitionError, match=said):
        list(Dataset.from_parquet(path, **KEYS, metadata_keys=["raw", "day"]))


def test_an_input_that_is_no_json_is_refused(tmp_path: Path) -> None:
    numbers = _parquet(tmp_path / "n.parquet", [{"input": 1.0}, {"input": float("nan")}])
    with pytest.raises(DefinitionError, match=r"n\.parquet row 2: Case.input is nan; JSON has"):
        list(Dataset.from_parquet(numbers))


def test_a_file_that_is_no_parquet_is_refused_with_its_name(tmp_path: Path) -> None:
    path = _jsonl(tmp_path / "d.parquet", ROWS)
    with pytest.raises(DefinitionError, match=r"d\.parquet row 1: not Parquet: "):
        list(Dataset.from_parquet(path))


def test_parquet_without_pyarrow_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _parquet(tmp_path / "d.parquet", ROWS)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'themis-eval\[parquet\]'"):
        Dataset.from_parquet(path)


@pytest.mark.parametrize("ending", ["jsonl.gz", "csv.gz", "jsonl.zst", "csv.zst"])
def test_packed_files_are_read_as_they_are(tmp_path: Path, ending: str) -> None:
    text = io.StringIO(newline="")
    if ending.startswith("csv"):
        rows = csv.DictWriter(text, list(ROWS[0]))
        rows.writeheader()
        rows.writerows([{**row, "question": f"{row['question']}\n?"} for row in ROWS] * 500)
    else:
        text.write("".join(json.dumps(row) + "\n" for row in ROWS * 500))
    path = tmp_path / f"d.{ending}"
    raw = text.getvalue().encode()
    packed = gzip.compress(raw) if ending.endswith("gz") else pa.compress(raw, "zstd", asbytes=True)
    path.write_bytes(packed)
    read = Dataset.from_csv if ending.startswith("csv") else Dataset.from_jsonl
    data = read(path, **{**KEYS, "case_id": None})
    assert data.dataset_id == "d"
    assert [case.expected_output for case in data] == ["2", "3"] * 500
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DefinitionError, match=rf"d\.{ending} (is broken|cannot be read)"):
        list(data)


def test_a_cell_as_long_as_a_document_is_read(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("input\n" + "x" * 500_000 + "\n")
    assert len(next(iter(Dataset.from_csv(path))).input) == 500_000


# ── What was written is read ──────────────────────────────────────────────────────────────────────

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SMALL = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
SLOW = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@SLOW
@given(values=st.lists(st.tuples(JSON, JSON), min_size=1, max_size=5))
def test_json_lines_give_back_any_value(tmp_path: Path, values: list[tuple[Any, Any]]) -> None:
    rows = [{"input": one, "expected_output": two, "é": [one]} for one, two in values]
    read = list(Dataset.from_jsonl(_jsonl(tmp_path / "d.jsonl", rows)))
    assert [repr((case.input, case.expected_output)) for case in read] == list(map(repr, values))
    assert [repr(case.metadata) for case in read] == [repr({"é": [one]}) for one, _ in values]


@SLOW
@given(values=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5))
def test_csv_gives_back_any_text(tmp_path: Path, values: list[tuple[str, str]]) -> None:
    path = tmp_path / "d.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("input", "tag, \u2028"), *values])
    read = list(Dataset.from_csv(path))
    assert [(case.input, case.metadata["tag, \u2028"]) for case in read] == values


@SLOW
@given(
    values=st.lists(
        st.tuples(st.none() | TEXT, st.none() | SMALL, FLOATS, st.lists(st.none() | TEXT)),
        min_size=1,
        max_size=5,
    )
)
def test_parquet_gives_back_any_value_of_its_types(tmp_path: Path, values: list[Any]) -> None:
    schema = pa.schema(
        [
            ("input", pa.string()),
            ("whole", pa.int64()),
            ("real", pa.float64()),
            ("deep", pa.struct([("parts", pa.list_(pa.string()))])),
        ]
    )
    rows = [
        {"input": text, "whole": whole, "real": real, "deep": {"parts": parts}}
        for text, whole, real, parts in values
    ]
    path = tmp_path / "d.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    read = [{"input": case.input, **case.metadata} for case in Dataset.from_parquet(path)]
    assert list(map(repr, read)) == list(map(repr, rows))


# ── How often a source is read ────────────────────────────────────────────────────────────────────


def test_a_run_opens_its_file_twice_and_a_finished_one_once_more_to_compile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _jsonl(tmp_path / "d.jsonl", [{"input": n, "expected_output": n} for n in range(600)])
    data = Dataset.from_jsonl(path)
    opened: list[str] = []
    whole = Path.open

    def opening(self: Path, *args: Any, **options: Any) -> Any:
        if self == path:
            opened.append(str(self))
        return whole(self, *args, **options)

    monkeypatch.setattr(Path, "open", opening)
    one = experiment(cases=data)
    assert len(one.run().cases) == 600
    assert len(opened) == 2


class _Once:
    """An iterator that counts what is taken of it."""

    def __init__(self, n: int) -> None:
        self.left = n
        self.taken = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        if self.taken == self.left:
            raise StopIteration
        self.taken += 1
        return {"input": self.taken, "expected_output": 10**30, "metadata": {"é\n": None}}


def test_an_iterator_is_taken_from_once_however_often_it_is_read() -> None:
    once = _Once(1000)
    data = Dataset.from_source(once, dataset_id="d")
    assert once.taken == 0
    assert next(iter(data)).input == 1
    assert once.taken < 1000  # as far as somebody reads, a batch at a time
    two = zip(data, data, strict=True)
    assert all(one == other for one, other in two)
    cases = list(data)
    assert (once.taken, len(cases), cases[-1].case_id) == (1000, 1000, "1000")
    assert (cases[0].expected_output, cases[0].metadata) == (10**30, {"é\n": None})


def test_a_run_over_a_generator_object_completes_and_resumes() -> None:
    once = _Once(40)
    one = experiment(cases=Dataset.from_source(once, dataset_id="d"))
    first = one.run()
    assert (len(first.cases), once.taken) == (40, 40)
    assert one.run().run_id == first.run_id


def test_a_spool_is_a_file_and_goes_with_its_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    whole = tempfile.TemporaryFile

    def temporary(**options: Any) -> Any:
        made.append(whole(dir=tmp_path, **options))
        return made[-1]

    monkeypatch.setattr(tempfile, "TemporaryFile", temporary)
    data = Dataset.from_source(iter([{"input": "x" * 1000}] * 600), dataset_id="d")
    part = data.take(3)
    assert len(list(data)) == 600
    assert os.fstat(made[0].fileno()).st_size > 600_000
    del data, part
    gc.collect()
    descriptor = made[0].fileno()
    made.clear()
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    assert list(tmp_path.iterdir()) == []


def test_an_iterator_that_breaks_off_is_not_taken_for_one_that_ended() -> None:
    def broken() -> Iterator[dict[str, Any]]:
        yield {"input": 1}
        raise OSError("the wire was cut")

    data = Dataset.from_source(broken(), dataset_id="d")
    with pytest.raises(OSError, match="the wire was cut"):
        list(data)
    with pytest.raises(DefinitionError, match="raised OSError when it was first read"):
        list(data)


def test_a_function_is_called_at_each_pass() -> None:
    calls: list[int] = []

    def cases() -> Iterator[Case]:
        calls.append(1)
        return (Case(case_id=str(n), input=n) for n in range(5))

    data = Dataset.from_source(cases, dataset_id="d")
    assert list(data) == list(data)
    assert len(calls) == 2
    result = evaluate(model="builtin/demo_generator", data=cases, storage=_memory(), progress=False)
    assert (len(result.cases), len(calls)) == (5, 4)


def _memory() -> Any:
    from themis.core.config import StorageConfig

    return StorageConfig(store="memory")


def test_a_function_that_gives_a_spent_iterator_again_is_refused() -> None:
    once = iter([{"input": 1}])
    data = Dataset.from_source(lambda: once, dataset_id="d")
    assert len(list(data)) == 1
    with pytest.raises(DefinitionError, match="returned the same iterator twice"):
        list(data)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("cases", "source is str: give an iterable"),
        ({"input": 1}, "source is dict: give an iterable"),
        (3, "source is int: give an iterable"),
        (lambda: 3, "function returned int, not an iterable"),
        ([3], "case 1 is int; it must be a Case, or a mapping"),
        (iter([{"input": 1}, {"inptu": 1}]), "case 2: Case has no field 'inptu'"),
    ],
)
def test_a_source_of_something_else_is_refused(source: Any, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        list(Dataset.from_source(source, dataset_id="d"))


def test_evaluate_takes_an_iterator_of_mappings_without_holding_it() -> None:
    once = _Once(30)
    result = evaluate(
        model="builtin/demo_generator",
        data=once,
        metric="builtin/exact_match",
        storage=_memory(),
        progress=False,
    )
    assert (len(result.cases), once.taken) == (30, 30)


# ── What changes between compile and run, and ids that stand twice ────────────────────────────────


def test_a_case_that_reads_differently_at_the_second_pass_is_named(tmp_path: Path) -> None:
    passes: list[int] = []

    def cases() -> Iterator[Case]:
        passes.append(1)
        for number in range(5):
            changed = number == 3 and len(passes) > 1
            yield Case(case_id=f"c{number}", input="other" if changed else number)

    one = experiment(cases=Dataset.from_source(cases, dataset_id="d"))
    with pytest.raises(DefinitionError, match=r"case 'c3' \(number 4\) reads differently"):
        one.run()


@pytest.mark.parametrize("n", [10, 60_000])
def test_an_id_that_stands_twice_is_found_in_one_more_pass(n: int) -> None:
    passes: list[int] = []

    def cases() -> Iterator[Case]:
        passes.append(1)
        for number in range(n):
            yield Case(case_id="c3" if number == n - 1 else f"c{number}", input=1)

    one = experiment(cases=Dataset.from_source(cases, dataset_id="d"))
    said = rf"dataset 'd' has the case_id 'c3' twice \(the second is case {n}\)"
    with pytest.raises(DefinitionError, match=said):
        one.compile()
    assert len(passes) == 2


def test_reading_opens_nothing_before_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _jsonl(tmp_path / "d.jsonl", ROWS)

    def refuse(*args: Any, **options: Any) -> Any:
        raise AssertionError("opened")

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(builtins, "open", refuse)
    Dataset.from_jsonl(path).take(1).sample(1, seed=0).filter(bool)
