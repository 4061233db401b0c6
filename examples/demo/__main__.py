"""The demo: which of two prompts does a small model answer better with, and how sure is that?

A real model is served on this machine, real multiple-choice questions are put to it over HTTP, and
everything is kept in a SQLite store as it happens: stop it with Ctrl-C, start it again, and it goes
on where it was.

    python -m examples.demo [--questions N] [--out FOLDER]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from examples.demo.benchmark_data import BenchmarkDataError, benchmark_revision, load_benchmark
from examples.demo.local_model import MODEL_ID, SLOTS, LocalModelError, local_model
from themis import (
    Experiment,
    PromptSpec,
    Reporter,
    RunResult,
    RuntimeConfig,
    ThemisError,
    get_execution_state,
)
from themis.adapters import openai
from themis.core.config import EvaluationConfig, GenerationConfig, StorageConfig
from themis.core.errors import RunInterrupted
from themis.core.models import Case, Dataset

BENCHMARK = "truthfulqa_mc1"
MOST_CHOICES = 5
QUESTION = (
    "{{ question }}\n"
    "{% for choice in choices %}{{ 'ABCDEFGHIJ'[loop.index0] }}. {{ choice }}\n{% endfor %}"
)

PROMPTS: Mapping[str, PromptSpec] = {
    "terse": PromptSpec(instructions="Answer with the letter only.", template=QUESTION),
    "spelled out": PromptSpec(
        instructions=(
            "Answer the multiple-choice question with the letter of the best choice only."
        ),
        template=QUESTION,
        suffix="Answer:",
    ),
}


def questions(limit: int) -> Dataset:
    """Return the benchmark's questions with few choices: they fit a small model's context."""
    rows = [
        row for row in load_benchmark(BENCHMARK) if len(row["input"]["choices"]) <= MOST_CHOICES
    ]
    return Dataset(
        dataset_id=BENCHMARK,
        revision=benchmark_revision(),
        cases=[Case(**row) for row in rows[:limit]],
    )


def experiment(prompt: PromptSpec, data: Dataset, base_url: str, store_path: Path) -> Experiment:
    """Return the experiment of one prompt."""
    generator = openai(
        MODEL_ID,
        base_url=base_url,
        api_key="none",
        # What is served, said in words: the port differs from day to day, the model does not.
        model_id="SmolLM2-135M-Instruct Q4_1",
        sampling={"temperature": 0, "max_output_tokens": 4},
    )
    return Experiment(
        generation=GenerationConfig(generator=generator, prompt_spec=prompt),
        evaluation=EvaluationConfig(
            metrics=["builtin/choice_accuracy"], parsers=["builtin/choice_letter"]
        ),
        storage=StorageConfig(store="sqlite", parameters={"path": str(store_path)}),
        runtime=RuntimeConfig(max_concurrent_tasks=SLOTS, generation_timeout=180),
        datasets=[data],
    )


def table(results: Mapping[str, RunResult], seconds: Mapping[str, float]) -> str:
    """Return one line a prompt: accuracy with its interval, errors, tokens, time."""
    head = ("prompt", "accuracy", "95% interval", "scored", "unparsed", "errors", "tokens", "time")
    rows = [head]
    for name, result in results.items():
        metric = result.metrics["builtin/choice_accuracy"]
        tokens = result.progress.tokens
        low, high = metric.interval or (float("nan"), float("nan"))
        rows.append(
            (
                name,
                "-" if metric.value is None else f"{metric.value:.3f}",
                f"{low:.3f} to {high:.3f}",
                str(metric.n_scored),
                str(metric.n_unparsed),
                str(metric.n_errors),
                f"{tokens.get('prompt_tokens', 0)} + {tokens.get('completion_tokens', 0)}",
                f"{seconds[name]:.0f} s",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def run(limit: int, out: Path) -> None:
    """Run both prompts and tell what came of it."""
    data = questions(limit)
    out.mkdir(parents=True, exist_ok=True)
    store_path = out / "runs.db"
    results: dict[str, RunResult] = {}
    seconds: dict[str, float] = {}
    store: Any = None
    with local_model(log_path=out / "model.log") as base_url:
        print(f"{MODEL_ID} is served at {base_url}; {len(data.cases)} questions of {BENCHMARK}")
        for name, prompt in PROMPTS.items():
            print(f"prompt '{name}'")
            made = experiment(prompt, data, base_url, store_path)
            store = made.store
            results[name] = made.run(progress=True)
            state = get_execution_state(store, results[name].run_id)
            seconds[name] = sum(one["finished"] - one["started"] for one in state.attempts)
    report = out / "report.html"
    Reporter(store).write(
        [result.run_id for result in results.values()], report, labels=list(results)
    )
    print()
    print(table(results, seconds))
    print()
    print(f"The intervals are Wilson's, over questions. Report: {report.resolve()}")


def main() -> int:
    """Run from the command line and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=100, help="at most so many (default 100)")
    parser.add_argument("--out", type=Path, default=Path("demo-out"), help="folder (demo-out)")
    arguments = parser.parse_args()
    try:
        run(arguments.questions, arguments.out)
    except RunInterrupted:
        print("\nStopped. What was answered is kept: `make demo` goes on from there.")
        return 130
    except (ThemisError, LocalModelError, BenchmarkDataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
