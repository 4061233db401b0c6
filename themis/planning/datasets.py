"""One pass over the data before a run: digests in order, duplicate ids, template fields.

Memory stays bounded: 16 bytes a case for its digest and 8 for its id. Ids are compared by short
digests, and in full only where two of these agree.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

from themis.core.errors import DefinitionError
from themis.core.hashing import DIGEST_BYTES, digest, digest_parts, digest_value, encode
from themis.core.kept import StoredCase
from themis.core.models import Case, Dataset
from themis.core.prompts import PromptSpec
from themis.core.snapshot import DatasetRef
from themis.planning.keys import CaseDigests
from themis.planning.work import Manifest

_SMALL = 50_000


def read_datasets(
    datasets: Sequence[Dataset], prompt_spec: PromptSpec | None
) -> tuple[list[DatasetRef], list[Manifest]]:
    """Read every dataset once and return what identity and the run need of it.

    Raises:
        DefinitionError: no dataset, an empty one, one id twice, a case id twice within one, or a
            template field that a case lacks.
    """
    if not datasets:
        raise DefinitionError("datasets is empty: a run needs at least one", field="datasets")
    seen: set[str] = set()
    refs: list[DatasetRef] = []
    manifests: list[Manifest] = []
    for dataset in datasets:
        if dataset.dataset_id in seen:
            raise DefinitionError(
                f"datasets holds '{dataset.dataset_id}' twice; give each its own dataset_id",
                field="datasets",
                value=dataset.dataset_id,
            )
        seen.add(dataset.dataset_id)
        try:
            manifest = _read(dataset, prompt_spec)
        except OSError as error:
            raise DefinitionError(
                f"dataset '{dataset.dataset_id}' cannot be read: {error}", field="datasets"
            ) from error
        manifests.append(manifest)
        refs.append(
            DatasetRef(
                dataset_id=dataset.dataset_id,
                fingerprint=manifest.fingerprint,
                n_cases=manifest.n_cases,
                revision=dataset.revision,
                metadata=dataset.metadata,
            )
        )
    return refs, manifests


def stored_case(case: Case, digests: CaseDigests) -> StoredCase:
    """Return a case as a store keeps it: fields that say nothing left out."""
    fields: dict[str, Any] = {"input": case.input}
    if case.expected_output is not None:
        fields["expected_output"] = case.expected_output
    if case.metadata:
        fields["metadata"] = case.metadata
    return StoredCase(case_id=case.case_id, digest=digests.whole, raw=encode(fields))


def _read(dataset: Dataset, prompt_spec: PromptSpec | None) -> Manifest:
    digests = bytearray()
    ids = array("Q")
    fills = prompt_spec is not None and prompt_spec.template is not None
    for case in dataset:
        if fills:
            assert prompt_spec is not None
            _fill(prompt_spec, case, dataset.dataset_id)
        digests += CaseDigests(case).whole
        ids.append(_short(case.case_id))
    if not ids:
        raise DefinitionError(
            f"dataset '{dataset.dataset_id}' has no cases: give it at least one",
            field="datasets",
            value=dataset.dataset_id,
        )
    if _any_twice(ids):
        _refuse_duplicate(dataset)
    facts = digest_value("dataset", [dataset.revision, dataset.metadata])
    fingerprint = digest_parts("dataset", [facts, digest("cases", bytes(digests))])
    return Manifest(
        fingerprint=fingerprint.hex(), n_cases=len(digests) // DIGEST_BYTES, digests=bytes(digests)
    )


def _fill(prompt_spec: PromptSpec, case: Case, dataset_id: str) -> None:
    try:
        prompt_spec.render_input(case.input, metadata=case.metadata)
    except DefinitionError as error:
        raise DefinitionError(
            f"{error} (case '{case.case_id}' of dataset '{dataset_id}')", field="template"
        ) from None


def _short(case_id: str) -> int:
    data = case_id.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")


def _any_twice(ids: array[int]) -> bool:
    if len(ids) <= _SMALL:
        return len(set(ids)) < len(ids)
    import numpy

    ordered = numpy.sort(numpy.frombuffer(ids, dtype=numpy.uint64))
    return bool((ordered[1:] == ordered[:-1]).any())


def _refuse_duplicate(dataset: Iterable[Case]) -> None:
    """Name the first id that stands twice. Equal short digests of different ids pass."""
    seen: set[str] = set()
    for position, case in enumerate(dataset):
        if case.case_id in seen:
            name = getattr(dataset, "dataset_id", "")
            raise DefinitionError(
                f"dataset '{name}' has the case_id '{case.case_id}' twice (the second is case "
                f"{position + 1}); case ids are unique within a dataset",
                field="datasets",
                value=case.case_id,
            )
        seen.add(case.case_id)
