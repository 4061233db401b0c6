"""Reports from the command line: labels, groups, cases, failures and tables for a paper.

Covers: themis.cli.reading_verbs
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Shell
from themis import Experiment, sqlite_store, use
from themis.core.config import EvaluationConfig, GenerationConfig, StorageConfig
from themis.core.models import Case, Dataset

STORE = ("--store", "runs.db")
SUBJECTS = ("law", "maths")


@pytest.fixture
def runs(inside: Shell) -> list[str]:
    """Two runs of one generator over two data sets, in the folder's store."""
    datasets = [
        Dataset(
            dataset_id=name,
            cases=[
                Case(
                    case_id=f"{name}{at}",
                    input=f"{at}+{at}",
                    expected_output=str(2 * at),
                    metadata={"subject": SUBJECTS[at % 2]},
                )
                for at in range(6)
            ],
        )
        for name in ("easy", "hard")
    ]
    store = sqlite_store("runs.db")
    found = [
        Experiment(
            generation=GenerationConfig(generator=use("builtin/demo_generator", accuracy=accuracy)),
            evaluation=EvaluationConfig(metrics=["builtin/exact_match"]),
            storage=StorageConfig(store="memory"),
            datasets=datasets,
        )
        .run(store=store, progress=False)
        .run_id
        for accuracy in (0.3, 0.9)
    ]
    store.close()
    return found


def told(inside: Shell, runs: Sequence[str], *options: str | Path) -> str:
    done = inside("report", *runs, *STORE, *options)
    assert (done.code, done.err) == (0, "")
    return done.out


def test_scores_are_told_by_several_fields_in_the_order_given(
    inside: Shell, runs: list[str]
) -> None:
    options = ("--format", "json", "--by", "dataset", "--by", "subject")
    (run,) = json.loads(told(inside, runs[:1], *options))["runs"]
    found: list[dict[str, Any]] = [one["by"] for one in run["groups"]]
    assert found == [
        {"dataset": name, "subject": subject} for name in ("easy", "hard") for subject in SUBJECTS
    ]
    assert [one["n_cases"] for one in run["groups"]] == [3, 3, 3, 3]


def test_a_field_that_is_not_there_is_one_line(inside: Shell, runs: list[str]) -> None:
    done = inside("report", runs[0], *STORE, "--by", "sujbect")
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert "did you mean 'subject'" in done.err


def test_runs_go_by_their_labels(inside: Shell, runs: list[str]) -> None:
    text = told(inside, runs, "--label", "small, zero-shot", "--label", "large, zero-shot")
    assert "| small, zero-shot |" in text
    assert "| large, zero-shot |" in text
    done = inside("report", *runs, *STORE, "--label", "small")
    assert (done.code, done.out) == (2, "")
    assert "1 labels for 2 runs" in done.err


def test_a_label_names_a_single_run_too(inside: Shell, runs: list[str]) -> None:
    assert told(inside, runs[:1], "--label", "baseline").startswith("# baseline: builtin/demo")
