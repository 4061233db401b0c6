"""Importing outputs made elsewhere as a run's generations, to parse, score and judge them.

The run is that of the experiment with ``builtin/outputs`` in place of its generator. So its run id
depends on the outputs, and it differs from the run of the experiment's own generator.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

from themis.catalog.generators.output_rows import OutputRow, OutputRows
from themis.catalog.generators.outputs import OutputsInRows
from themis.core.errors import DefinitionError, nearest
from themis.core.hashing import digest_value
from themis.core.store import RunStore
from themis.experiment.experiment import Experiment
from themis.experiment.result import RunResult


@dataclass(frozen=True, kw_only=True)
class ImportedOutputs:
    """The result of importing outputs.

    Attributes:
        experiment: the experiment with these outputs; its ``run()`` continues with parsing.
        result: the run after generation.
        n_outputs: samples that have an output.
        n_missing: samples that have none: failed generations, until an import has them.
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
    """Store outputs made elsewhere as the generations of an experiment.

    Args:
        experiment: gives the cases, the number of samples and the evaluation; its own generator is
            not called.
        outputs: a JSON Lines file, or rows, with ``case_id``, ``output`` and the other fields that
            ``builtin/outputs`` reads.
        store: a store to use in place of the experiment's; give it to later runs too.

    Raises:
        DefinitionError: a row is invalid, repeats a sample, or fits no sample of the experiment;
            the message names its line, and nothing was written.
    """
    is_path = isinstance(outputs, (str, os.PathLike))
    rows = OutputRows.in_file(outputs) if is_path else OutputRows.given(outputs)  # type: ignore[arg-type]
    _check(rows, experiment)
    over = _over(rows, experiment)
    over.compile()  # refuse before a store is made
    if store is None:
        store = experiment.store
        over = _over(rows, experiment)  # for the store that is open now
    result = over.run(until_stage="generate", store=store, progress=False)
    done = result.progress.stages["generate"]
    return ImportedOutputs(
        experiment=over,
        result=result,
        n_outputs=done.done,
        n_missing=done.failed,
    )


def _over(rows: OutputRows, experiment: Experiment) -> Experiment:
    """Return the experiment with the rows in place of its generator."""
    over = copy(experiment)
    over.generation = experiment.generation.model_copy(
        update={"generator": OutputsInRows(rows=rows)}
    )
    return over


def _check(rows: OutputRows, experiment: Experiment) -> None:
    """Refuse rows that fit no sample of an experiment, or more than one."""
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
    """The cases of an experiment, by id, and their datasets."""

    def __init__(self, experiment: Experiment) -> None:
        self._names = [dataset.dataset_id for dataset in experiment.datasets]
        self._found: dict[str, list[tuple[int, bytes]]] = {}
        self._answers: dict[tuple[bytes, int], tuple[bytes, int]] = {}
        for number, dataset in enumerate(experiment.datasets):
            for case in dataset:
                whole = digest_value("case", case.model_dump(mode="json"))
                self._found.setdefault(case.case_id, []).append((number, whole))

    def amiss(self, row: OutputRow) -> str | None:
        """Return what is wrong with the case that a row names; None if nothing is."""
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
        """Return a message if a case that is equal in two datasets has two different outputs."""
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
