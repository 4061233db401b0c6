"""Scores against the field's reference implementations, the whole way, and none may differ.

python -m benchmarks.agreement [--pairs 2000]

Pairs go through ``Experiment.run`` into SQLite, answers arriving out of order; another process
opens the file and reads the score table and the report. Every value is compared, bit for bit, with
what sacreBLEU, SQuAD's official logic, rouge-score, rapidfuzz and Math-Verify give, and every mean
with theirs: to 12 digits, since in which order floats are added is nobody's promise. sacreBLEU's
scores of the corpus are compared bit for bit again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import re
import string
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from tests.support.pairs import Pair, math_pairs, text_pairs
from themis import Experiment, Reporter, RunResult, sqlite_store, use
from themis.core.config import EvaluationConfig, GenerationConfig, RuntimeConfig, StorageConfig
from themis.core.models import Case, Dataset, GenerationResult

Reference = Callable[[Pair], float]


class Scripted:
    """Gives the answer that is kept for a case, after a while that differs from case to case."""

    component_id = "benchmark/scripted"
    version = "1"

    def __init__(self, answers: Mapping[str, str]) -> None:
        self._answers = answers
        self.finished: list[str] = []

    def fingerprint(self) -> str:
        return "scripted"

    async def generate(self, case: Case, ctx: object) -> GenerationResult:
        del ctx
        await asyncio.sleep(Random(case.case_id).random() / 100)
        self.finished.append(case.case_id)
        return GenerationResult(candidate_id="c", final_output=self._answers[case.case_id])


class Outcome(NamedTuple):
    """What came of one metric."""

    metric: str
    compared: int
    differing: list[str]
    mean: float | None
    expected_mean: float
    corpus: float | None
    expected_corpus: float | None
    """None where the reference has no score of a corpus."""


def normalize_answer(text: str) -> str:
    """SQuAD's, as its official scripts define it."""
    text = "".join(char for char in text.lower() if char not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def squad_f1(answer: str, right: str) -> float:
    """SQuAD 2.0's ``compute_f1``."""
    given, wanted = normalize_answer(answer).split(), normalize_answer(right).split()
    if not given or not wanted:
        return int(given == wanted)
    same = sum((Counter(given) & Counter(wanted)).values())
    if same == 0:
        return 0
    precision, recall = same / len(given), same / len(wanted)
    return (2 * precision * recall) / (precision + recall)


def text_references() -> dict[str, tuple[Any, Reference]]:
    """Return, by name, a metric and what its reference gives for a pair."""
    import sacrebleu.metrics as sacre
    from rapidfuzz.distance import Levenshtein
    from rouge_score.rouge_scorer import RougeScorer

    def of_sacre(name: str, **params: Any) -> Reference:
        metric = getattr(sacre, name)(**params)
        return lambda pair: float(metric.sentence_score(pair.answer, pair.right).score)

    def of_rouge(variant: str, stemmer: bool) -> Reference:
        scorer = RougeScorer([variant], use_stemmer=stemmer)
        return lambda pair: float(scorer.score_multi(pair.right, pair.answer)[variant].fmeasure)

    def kept(pair: Pair) -> list[str]:
        return [one for one in pair.right if normalize_answer(one)] or [""]

    found: dict[str, tuple[Any, Reference]] = {
        "bleu": ("builtin/bleu", of_sacre("BLEU", effective_order=True)),
        "chrf": ("builtin/chrf", of_sacre("CHRF")),
        "chrf++": (use("builtin/chrf", word_order=2), of_sacre("CHRF", word_order=2)),
        "ter": ("builtin/ter", of_sacre("TER")),
        "em": (
            use("builtin/exact_match", normalize="squad"),
            lambda pair: float(
                any(normalize_answer(pair.answer) == normalize_answer(one) for one in pair.right)
            ),
        ),
        "f1": ("builtin/f1", lambda pair: max(squad_f1(pair.answer, one) for one in kept(pair))),
        "levenshtein": (
            "builtin/levenshtein",
            lambda pair: max(
                Levenshtein.normalized_similarity(pair.answer, one) for one in pair.right
            ),
        ),
    }
    for variant in ("rouge1", "rouge2", "rougeL", "rougeLsum"):
        for stemmer in (False, True):
            name = f"{variant}{' stemmed' if stemmer else ''}"
            metric = use("builtin/rouge", variant=variant, stemmer=stemmer)
            found[name] = (metric, of_rouge(variant, stemmer))
    return found


def corpus_references() -> dict[str, Callable[[Sequence[Pair]], float]]:
    """Return, by name, what sacreBLEU gives of all pairs together, under its own defaults."""
    import sacrebleu.metrics as sacre

    def of_sacre(name: str, **params: Any) -> Callable[[Sequence[Pair]], float]:
        def score(pairs: Sequence[Pair]) -> float:
            most = max(len(pair.right) for pair in pairs)
            # sacreBLEU takes streams of references; None stands where a pair has fewer.
            streams = [
                [pair.right[place] if place < len(pair.right) else None for pair in pairs]
                for place in range(most)
            ]
            metric = getattr(sacre, name)(**params)
            return float(metric.corpus_score([pair.answer for pair in pairs], streams).score)

        return score

    return {
        "bleu": of_sacre("BLEU"),
        "chrf": of_sacre("CHRF"),
        "chrf++": of_sacre("CHRF", word_order=2),
        "ter": of_sacre("TER"),
    }


def math_references() -> dict[str, tuple[Any, Reference]]:
    """Return Math-Verify, which is given bare expressions between dollar signs."""
    from math_verify import parse, verify

    from themis.catalog.math_metric import delimited

    def judged(pair: Pair) -> float:
        right, answer = parse(delimited(pair.right[0])), parse(delimited(pair.answer))
        return float(verify(right, answer))

    return {"math_equivalence": ("builtin/math_equivalence", judged)}


def compare(
    pairs: Sequence[Pair], references: Mapping[str, tuple[Any, Reference]], folder: Path
) -> list[Outcome]:
    """Run the pairs, read the run in another process, and compare all there is."""
    ids = [f"case-{index}" for index in range(len(pairs))]
    generator = Scripted({case_id: pair.answer for case_id, pair in zip(ids, pairs, strict=True)})
    path = folder / "runs.db"
    experiment = Experiment(
        generation=GenerationConfig(generator=generator),
        evaluation=EvaluationConfig(
            metrics=[
                use(metric, name=name)
                if isinstance(metric, str)
                else metric.model_copy(update={"name": name})
                for name, (metric, _) in references.items()
            ]
        ),
        storage=StorageConfig(store="sqlite", parameters={"path": str(path)}),
        runtime=RuntimeConfig(max_concurrent_tasks=64),
        datasets=[
            Dataset(
                dataset_id="pairs",
                cases=[
                    Case(case_id=case_id, input="?", expected_output=pair.right)
                    for case_id, pair in zip(ids, pairs, strict=True)
                ],
            )
        ],
    )
    run_id = experiment.run(progress=False).run_id
    experiment.store.close()
    assert generator.finished != ids, "the answers were to arrive out of order"
    told = json.loads(
        subprocess.run(
            [sys.executable, "-m", "benchmarks.agreement", "--read", str(path), run_id],
            check=True,
            capture_output=True,
            encoding="utf-8",
        ).stdout
    )
    return [
        _outcome(name, reference, dict(zip(ids, pairs, strict=True)), told)
        for name, (_, reference) in references.items()
    ]


def _outcome(
    name: str, reference: Reference, pairs: Mapping[str, Pair], told: dict[str, Any]
) -> Outcome:
    rows: dict[str, float | None] = told["values"][name]
    expected = {case_id: reference(pair) for case_id, pair in pairs.items()}
    differing = [
        f"{case_id}: {rows.get(case_id)!r}, not {value!r}: {pairs[case_id]}"
        for case_id, value in expected.items()
        if rows.get(case_id) != value
    ]
    mean = math.fsum(expected.values()) / len(expected)
    corpus = corpus_references().get(name)
    return Outcome(
        name,
        len(rows),
        differing,
        told["means"][name],
        mean,
        told["corpora"][name],
        None if corpus is None else corpus(list(pairs.values())),
    )


def read(path: str, run_id: str) -> None:
    """Print a run's score table and the means of its report, as JSON."""
    store = sqlite_store(path)
    store.initialize()
    values: dict[str, dict[str, float | None]] = {}
    for row in RunResult(store, store.load_snapshot(run_id)).score_rows():
        values.setdefault(row.metric_id, {})[row.case_id] = row.value
    (run,) = json.loads(Reporter(store).render(run_id, "json"))["runs"]
    means = {metric["metric_id"]: metric["mean"] for metric in run["metrics"]}
    corpora = {
        metric["metric_id"]: (metric["corpus"] or {}).get("value") for metric in run["metrics"]
    }
    print(json.dumps({"values": values, "means": means, "corpora": corpora}))
    store.close()


def agree(outcome: Outcome) -> bool:
    """Return whether no value, no mean and no value over the corpus differs."""
    same_mean = outcome.mean is not None and math.isclose(
        outcome.mean, outcome.expected_mean, rel_tol=1e-12
    )
    return not outcome.differing and same_mean and outcome.corpus == outcome.expected_corpus


def main() -> int:
    """Print a line for each metric; fail where anything differs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--read", nargs=2, metavar=("PATH", "RUN_ID"))
    given = parser.parse_args()
    if given.read:
        read(*given.read)
        return 0
    failed = False
    print("| metric | pairs | values differing | mean in the report | of the references |", end="")
    print(" corpus in the report | of the references |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for pairs, references in (
        (text_pairs(given.pairs, seed=11), text_references()),
        (math_pairs(given.pairs, seed=12), math_references()),
    ):
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            outcomes = compare(pairs, references, Path(folder))
        for one in outcomes:
            failed = failed or not agree(one)
            print(
                f"| {one.metric} | {one.compared} | {len(one.differing)} | {one.mean!r} "
                f"| {one.expected_mean!r} | {one.corpus} | {one.expected_corpus} |"
            )
            for line in one.differing[:5]:
                print(f"  {line}", file=sys.stderr)
        print(f"({time.perf_counter() - began:.0f} s)", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
