"""Outputs made elsewhere become the generations of a run, which is then parsed, scored and judged.

The run is that of the experiment with ``builtin/outputs`` in the generator's place: it is named
after what it holds, and never passes for the work of the generator that the experiment names.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

from themis.catalog.output_rows import OutputRow, OutputRows
from themis.catalog.outputs import FromRows
from themis.core.errors import DefinitionError, nearest
from themis.core.hashing import digest_value
from themis.core.protocols import RunStore
from themis.experiment.experiment import Experiment
from themis.experiment.result import RunResult


@dataclass(frozen=True, kw_only=True)
class ImportedOutputs:
    """Outputs that became a run's generations.

    Attributes:
        experiment: the experiment over them: its ``run()`` goes on with parsing.
        result: the run, through generation.
        n_outputs: samples that have one.
        n_missing: samples that have none: failed generations, until a file has them.
    """

    experiment: Experiment
    result: RunResult
    n_outputs: int
    n_missing: int


def import_outputs(
    experiment: Experiment,
    outputs: str | os.PathLike[str] | Iterable[Mapping[str, Any]],
    *,
    store: RunStore | None = None,
) -> ImportedOutputs:
    """Journal outputs made elsewhere as the generations of an experiment.

    Args:
        experiment: says the cases, how many samples, and how they are scored; its own generator is
            not asked.
        outputs: a JSON Lines file, or rows: ``case_id`` and ``output``, and what else
            ``builtin/outputs`` reads.
        store: a store in place of the experiment's, to be given to what is run afterwards too.

    Raises:
        DefinitionError: a row is broken, answers twice, or answers no sample of the experiment; it
            is named by its line, and nothing was written.
    """
    is_path = isinstance(outputs, (str, os.PathLike))
    rows = OutputRows.in_file(outputs) if is_path else OutputRows.given(outputs)  # type: ignore[arg-type]
    _check(rows, experiment)
    over = _over(rows, experiment)
    over.compile()  # what is refused is refused before a store is made
    if store is None:
        store = experiment.store
        over = _over(rows, experiment)  # which works in the store that is open by now
    result = over.run(until_stage="generate", store=store, progress=False)
    done = result.progress.stages["generate"]
    return ImportedOutputs(
        experiment=over,
        result=result,
        n_outputs=done.done,
        n_missing=done.failed,
    )


def _over(rows: OutputRows, experiment: Experiment) -> Experiment:
    """Return the experiment with the rows in its generator's place, and else as it is."""
    over = copy(experiment)
    over.generation = experiment.generation.model_copy(update={"generator": FromRows(rows)})
    return over


def _check(rows: OutputRows, experiment: Experiment) -> None:
    """Refuse rows that answer no sample of an experiment, or of which it is not said which."""
    cases = _Cases(experiment)
    samples = experiment.generation.num_samples
    for row in rows:
        what = cases.amiss(row)
        if what is None and row.sample >= samples:
            what = f"sample {row.sample} of case '{row.case_id}': the experiment has {samples}"
        if what is not None:
            raise DefinitionError(
                f"{rows.name} line {row.line}: {what}", field="path", value=row.line
            )


class _Cases:
    """Which cases an experiment has, in which datasets."""

    def __init__(self, experiment: Experiment) -> None:
        self._names = [dataset.dataset_id for dataset in experiment.datasets]
        self._found: dict[str, list[tuple[int, bytes]]] = {}
        self._answers: dict[tuple[bytes, int], tuple[bytes, int]] = {}
        for number, dataset in enumerate(experiment.datasets):
            for case in dataset:
                whole = digest_value("case", case.model_dump(mode="json"))
                self._found.setdefault(case.case_id, []).append((number, whole))

    def amiss(self, row: OutputRow) -> str | None:
        """Return what is wrong with the case that a row names; None where nothing is."""
        there = self._found.get(row.case_id, [])
        if row.dataset_id is not None and row.dataset_id not in self._names:
            return f"there is no dataset '{row.dataset_id}'; {self._known()}"
        if not there:
            guess = nearest(row.case_id, list(self._found))
            hint = f"; did you mean '{guess}'?" if guess else ""
            return f"no dataset has a case '{row.case_id}'{hint}"
        if row.dataset_id is None:
            if len({whole for _, whole in there}) > 1:
                return (
                    f"case '{row.case_id}' is in {len(there)} datasets: add a 'dataset_id'; "
                    f"{self._known()}"
                )
            return None
        mine = [whole for number, whole in there if self._names[number] == row.dataset_id]
        if not mine:
            return f"dataset '{row.dataset_id}' has no case '{row.case_id}'"
        return self._is_answered_otherwise(row, mine[0])

    def _is_answered_otherwise(self, row: OutputRow, whole: bytes) -> str | None:
        """Tell of a case that two datasets hold alike, and that is answered twice."""
        if len(self._names) == 1:
            return None
        answer = digest_value("answer", row.result.model_dump(mode="json"))
        before = self._answers.setdefault((whole, row.sample), (answer, row.line))
        if before[0] == answer:
            return None
        return (
            f"case '{row.case_id}' is the same in two datasets and is answered otherwise in line "
            f"{before[1]}: give each dataset a run of its own"
        )

    def _known(self) -> str:
        return f"datasets: {', '.join(self._names)}"
