"""Two hundred real questions, put to a real model server in three ways, and one report of them all.

Two benchmarks (TruthfulQA and HellaSwag, multiple choice, 100 questions each) go over HTTP to a
model server by `openai(...)` over the Responses API, by `openai(...)` over Chat Completions and by
`vllm(...)`. The report puts the three runs side by side: scores, tokens, what it cost, how long
answers took. It is kept as it goes: stopped and started again, it goes on where it was.

    python -m examples.real_model                                  # SmolLM2, served here
    python -m examples.real_model --base-url http://gpu:8000/v1 --model my-model

It needs what the demo needs (`make demo` installs it). Answers are a few tokens long, so all of it
takes some minutes on two cores.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from examples.demo.benchmark_data import BenchmarkDataError, benchmark_revision, load_benchmark
from examples.demo.local_model import MODEL_ID, SLOTS, LocalModelError, local_model
from themis import Experiment, PromptSpec, Reporter, RunResult, RuntimeConfig, ThemisError
from themis.adapters import openai, vllm
from themis.core.config import EvaluationConfig, GenerationConfig, StorageConfig
from themis.core.errors import RunInterrupted
from themis.core.models import Case, Dataset
from themis.core.protocols import Generator

BENCHMARKS = ("truthfulqa_mc1", "hellaswag")
PROMPT = PromptSpec(
    instructions="Answer with the letter only.",
    template=(
        "{{ question }}\n"
        "{% for choice in choices %}{{ 'ABCDEFGHIJ'[loop.index0] }}. {{ choice }}\n{% endfor %}"
    ),
)


def generators(base_url: str, model: str, model_id: str | None) -> Mapping[str, Generator]:
    """Return one generator for each way of asking."""
    common: dict[str, Any] = {
        "base_url": base_url,
        "model_id": model_id,
        "sampling": {"temperature": 0, "max_output_tokens": 4},
    }
    # The key in OPENAI_API_KEY is for the server that the user names, not for one started here.
    key = "none" if model_id else None
    return {
        "openai, responses": openai(model, api_key=key, **common),
        "openai, chat": openai(model, api_key=key, api_mode="chat_completions", **common),
        "vllm, chat": vllm(model, api_mode="chat_completions", **common),
    }


def questions(of_each: int) -> list[Dataset]:
    """Return the first questions of each benchmark."""
    return [
        Dataset(
            dataset_id=name,
            revision=benchmark_revision(),
            cases=[Case(**row) for row in load_benchmark(name, of_each)],
        )
        for name in BENCHMARKS
    ]


def experiment(generator: Generator, data: list[Dataset], out: Path) -> Experiment:
    """Return the experiment of one way of asking."""
    return Experiment(
        generation=GenerationConfig(generator=generator, prompt_spec=PROMPT),
        evaluation=EvaluationConfig(
            metrics=["builtin/choice_accuracy"], parsers=["builtin/choice_letter"]
        ),
        storage=StorageConfig(store="sqlite", parameters={"path": str(out / "runs.db")}),
        runtime=RuntimeConfig(max_concurrent_tasks=SLOTS, generation_timeout=180),
        datasets=data,
    )


@contextlib.contextmanager
def served(base_url: str | None, model: str | None, out: Path) -> Iterator[tuple[str, str, str]]:
    """Yield base URL, model and what the model is, of the server named or of one started here."""
    if base_url is not None:
        name = model or MODEL_ID
        yield base_url, name, name
        return
    from importlib.metadata import version

    with local_model(log_path=out / "model.log") as local:
        print(f"SmolLM2-135M-Instruct Q4_1, served by xllamacpp {version('xllamacpp')}")
        yield local, MODEL_ID, "SmolLM2-135M-Instruct Q4_1"


def run_example(
    of_each: int, out: Path, base_url: str | None = None, model: str | None = None
) -> dict[str, RunResult]:
    """Run all three ways, write the report as HTML and print it; return the runs."""
    data = questions(of_each)
    out.mkdir(parents=True, exist_ok=True)
    results: dict[str, RunResult] = {}
    with served(base_url, model, out) as (url, name, what):
        # A server started here has another port every day; what is served stays the same.
        model_id = what if base_url is None else None
        for label, generator in generators(url, name, model_id).items():
            print(f"{label}: {sum(len(one.cases) for one in data)} questions")
            made = experiment(generator, data, out)
            results[label] = made.run(progress=True)
            reporter = Reporter(made.store)
    ids = [result.run_id for result in results.values()]
    print(f"\n{reporter.render(ids, 'markdown', labels=list(results))}")
    report = reporter.write(ids, out / "report.html", labels=list(results))
    print(f"\nThe same as a page: {report.resolve()}")
    return results


def main() -> int:
    """Run from the command line and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, default=100, help="of each benchmark, at most")
    parser.add_argument("--out", type=Path, default=Path("demo-out/real-model"), help="folder")
    parser.add_argument("--base-url", help="a server that is there already, /v1 included")
    parser.add_argument("--model", help="the model's name there")
    given = parser.parse_args()
    try:
        run_example(given.questions, given.out, given.base_url, given.model)
    except RunInterrupted:
        print("\nStopped. What was answered is kept: start it again and it goes on from there.")
        return 130
    except (ThemisError, LocalModelError, BenchmarkDataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
