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
from typing import Any, NamedTuple, cast

from tests.support.pairs import (
    FormulaPair,
    Pair,
    formula_pairs,
    math_pairs,
    math_verify_says,
    text_pairs,
)
from tests.support.said_outputs import Said, letter_outputs, number_outputs
from themis import Experiment, Reporter, RunResult, sqlite_store, use
from themis.catalog.metrics.math import MathEquivalence
from themis.catalog.parsers.numbers import MathAnswer, NumberIn
from themis.catalog.parsers.text import ChoiceLetter
from themis.core.base import CandidateId, CaseId, CaseKey, DatasetId, RunId
from themis.core.config import EvaluationConfig, GenerationConfig, RuntimeConfig, StorageConfig
from themis.core.contexts import ParseContext
from themis.core.errors import ParseError
from themis.core.models import Case, Dataset, GenerationResult, ParsedOutput, Score

SAID = 1000
"""Outputs for each parser, whose declared answers are known by construction."""
PARSING = ParseContext(
    run_id=RunId("r"),
    case_id=CaseId("c"),
    dataset_id=DatasetId("d"),
    case_key=CaseKey("k"),
    seed=None,
    candidate_id=CandidateId("c"),
)
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

    def judged(pair: Pair) -> float:
        return float(math_verify_says(pair.right[0], pair.answer))

    return {"math_equivalence": ("builtin/math_equivalence", judged)}


def compare_formulas(pairs: Sequence[FormulaPair]) -> int:
    """Print where verdicts on formulas differ from Math-Verify's; return the false positives.

    Answers are told in four ways and read by ``builtin/math_answer``. False is a 1 where neither
    Math-Verify, given both in dollars, nor the pair's making says that the two are one.
    """
    from math_verify import parse, verify

    metric, parser = MathEquivalence(), MathAnswer()
    false, differing, totals = 0, list[str](), Counter[str]()
    for place, pair in enumerate(pairs):
        told = ("{}", "${}$", r"So it is $\boxed{{{}}}$.", "The final answer is ${}$.")[place % 4]
        case = Case(case_id=str(place), input="?", expected_output=pair.right)
        answer = parser.read(told.format(pair.answer))[0]
        found = metric.score(ParsedOutput(value=answer), case, cast(Any, None))
        given = isinstance(found, Score) and found.value == 1.0
        reference = bool(verify(parse(f"${pair.right}$"), parse(f"${pair.answer}$")))
        totals[pair.kind] += 1
        false += given and not reference and not pair.same
        if given != reference:
            differing.append(f"{pair}: {given}, Math-Verify {reference}")
    told_kinds = ", ".join(f"{n} {kind}" for kind, n in totals.items())
    print(f"formulas: {len(pairs)} ({told_kinds}): {false} false positives, ", end="")
    print(f"{len(differing)} other than Math-Verify's")
    for line in differing:
        print(f"  {line}")
    return false


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


def compare_said(name: str, parser: NumberIn | ChoiceLetter, outputs: Sequence[Said]) -> int:
    """Print how often a parser does not read what an output declares, and return it."""
    otherwise, invented = 0, 0
    for said in outputs:
        candidate = GenerationResult(candidate_id="c", final_output=said.text)
        try:
            value = parser.parse(candidate, PARSING).value
        except ParseError:
            value = None
        if value != said.answer:
            otherwise += 1
            invented += said.answer is None
            print(f"  {said.text!r}: {value!r}, not {said.answer!r}", file=sys.stderr)
    print(f"| {name} | {len(outputs)} | {otherwise} | {invented} |")
    return otherwise


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
    failed = compare_formulas(formula_pairs(given.pairs, seed=13)) > 0 or failed
    print("| parser | outputs | read otherwise | read where nothing is declared |")
    print("| --- | --- | --- | --- |")
    for name, parser, outputs in (
        ("number", NumberIn(), number_outputs(SAID, seed=14)),
        ("choice_letter", ChoiceLetter(choices=10), letter_outputs(SAID, seed=15)),
    ):
        failed = compare_said(name, parser, outputs) > 0 or failed
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
