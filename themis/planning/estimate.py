"""What a run would do, counted before it does it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from themis.core.base import ArtifactKey, CaseId, DatasetId, case_key
from themis.core.contexts import GenerateContext
from themis.core.events import Stage
from themis.core.models import Case
from themis.core.protocols import RunStore
from themis.core.results import RunEstimate
from themis.core.snapshot import RunIdentity
from themis.planning.keys import CaseDigests, generate_key
from themis.planning.prices import Price, call_cost, find_price
from themis.planning.seeds import sample_seed
from themis.planning.work import CompiledRun

_PAGE = 256


def estimate(
    run: CompiledRun,
    store: RunStore | None,
    prices: Mapping[str, Mapping[str, float]] = {},
    not_before: float | None = None,
) -> RunEstimate:
    """Return how many steps the run has, and how many generations are not in the store yet.

    Args:
        run: the compiled run.
        store: where earlier work may be found; None counts everything as new.
        prices: the user's own prices, as in ``RuntimeConfig.prices``.
        not_before: Unix seconds before which nothing that is reused was made; None for no bound.
    """
    cases = run.snapshot.n_cases
    steps = steps_per_case(run.snapshot.identity)
    new, tokens, cost = _count_new(run, store, prices, not_before)
    component = run.generator.component
    cap = getattr(component, "max_output_tokens", None)
    outputs = None if cap is None else new * cap
    notes = _notes(run, tokens, outputs, cost)
    return RunEstimate(
        run_id=run.run_id,
        n_cases=cases,
        steps={stage.value: cases * count for stage, count in steps.items()},
        to_run={"generate": new},
        prompt_tokens=tokens,
        output_tokens_at_most=outputs,
        cost_usd=cost,
        notes=notes,
    )


def _add_cost(
    costs: list[float] | None, price: Price | None, prompt: int, cap: int | None
) -> list[float] | None:
    """Add a call to what all may cost: prices may rise with the size of a call."""
    ends = [0] if cap is None else [0, cap]
    added = [call_cost(price, {"prompt_tokens": prompt, "completion_tokens": end}) for end in ends]
    if costs is None or any(cost is None for cost in added):
        return None
    return [cost + (more or 0.0) for cost, more in zip(costs, added, strict=True)]


def _notes(
    run: CompiledRun, tokens: int | None, outputs: int | None, cost: list[float] | None
) -> list[str]:
    notes = []
    if any(metric.facts.judged for metric in run.metrics):
        notes += [
            "steps under 'judge' are judged metrics; each asks at least one judge call",
            "judge calls are not among the tokens: they ask about answers that are not there yet",
        ]
    if tokens is None:
        return [*notes, "the generator does not estimate tokens"]
    notes.append("prompt tokens are those of the rendered prompts, at about 4 characters a token")
    if outputs is None:
        notes.append("the generator's output has no cap, so that its cost has no upper end")
    if cost is None:
        notes.append(
            "unknown price: give it under runtime, prices={model: {input: ..., output: ...}}, in "
            "dollars for a million tokens"
        )
    return notes


def steps_per_case(identity: RunIdentity) -> dict[Stage, int]:
    """Return how many steps a case takes in each stage that the run has.

    A judged metric counts once for each subject, however many judge calls it makes.
    """
    subjects = 1 if identity.reducer is not None else identity.num_samples
    facts = [metric.metric for metric in identity.metrics]
    judged = [one for one in facts if one is not None and one.judged]
    counts = {
        Stage.GENERATE: identity.num_samples,
        Stage.SELECT: int(identity.selector is not None),
        Stage.REDUCE: int(identity.reducer is not None),
        Stage.PARSE: subjects * len(identity.parsers),
        Stage.SCORE: subjects * (len(facts) - len(judged)),
        Stage.JUDGE: sum(1 if one.subject == "candidates" else subjects for one in judged),
    }
    return {stage: count for stage, count in counts.items() if count}


def _count_new(
    run: CompiledRun,
    store: RunStore | None,
    prices: Mapping[str, Mapping[str, float]],
    not_before: float | None,
) -> tuple[int, int | None, list[float] | None]:
    """Return the generations to be made and, if that is known, their prompt tokens and cost."""
    new = 0
    component = run.generator.component
    counts = getattr(component, "estimate_tokens", None)
    cap = getattr(component, "max_output_tokens", None)
    tokens: int | None = 0 if counts is not None else None
    price = find_price(component, prices)
    costs: list[float] | None = None
    if price is not None and counts is not None:
        costs = [0.0] if cap is None else [0.0, 0.0]
    pairs = _cases(run)
    while page := list(islice(pairs, _PAGE)):
        wanted: dict[ArtifactKey, tuple[str, Case, int]] = {}
        for dataset_id, case in page:
            read = CaseDigests(case).read_by(run.generator.reads)
            for sample in range(run.snapshot.identity.num_samples):
                seed = sample_seed(run.snapshot.identity.seeds, case.case_id, sample)
                key = generate_key(run.generator.digest, run.prompt, read, sample, seed)
                wanted[key] = (dataset_id, case, sample)
        found = store.lookup(list(wanted)) if store is not None else {}
        for key, (dataset_id, case, sample) in wanted.items():
            made = found.get(key)
            if made is not None and (not_before is None or made.at >= not_before):
                continue
            new += 1
            if tokens is not None and counts is not None:
                prompt = int(counts(case, _context(run, dataset_id, case, sample)))
                tokens += prompt
                costs = _add_cost(costs, price, prompt, cap)
    return new, tokens, costs


def _cases(run: CompiledRun) -> Iterator[tuple[str, Case]]:
    for dataset in run.datasets:
        for case in dataset:
            yield dataset.dataset_id, case


def _context(run: CompiledRun, dataset_id: str, case: Case, sample: int) -> Any:
    return GenerateContext(
        run_id=run.run_id,
        case_id=CaseId(case.case_id),
        dataset_id=DatasetId(dataset_id),
        case_key=case_key(dataset_id, case.case_id),
        seed=sample_seed(run.snapshot.identity.seeds, case.case_id, sample),
        metadata=case.metadata,
        prompt_spec=run.prompt_spec,
        sample_index=sample,
    )
