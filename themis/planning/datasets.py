"""One pass over the data before a run: digests in order, duplicate ids, template fields.

Memory stays bounded: 16 bytes a case for its digest and 8 for its id. Ids are compared by short
digests, a bucket of these at a time, and in full only where two of them agree.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

from themis.core.base import JSONValue
from themis.core.errors import DefinitionError
from themis.core.hashing import DIGEST_BYTES, digest_parts, digest_value, encode, hasher
from themis.core.models import Case, Dataset
from themis.core.prompts import PromptSpec
from themis.core.snapshot import DatasetRef
from themis.core.store import StoredCase
from themis.planning.compiled_run import DatasetManifest
from themis.planning.keys import CaseDigests

_BUCKETS = 256
_SHIFT = 56


def read_datasets(
    datasets: Sequence[Dataset],
    prompt_spec: PromptSpec | None,
    judge_prompt: PromptSpec | None = None,
) -> tuple[list[DatasetRef], list[DatasetManifest]]:
    """Read every dataset once and return what identity and the run need of it.

    Args:
        datasets: the experiment's.
        prompt_spec: what the generator is shown an input in.
        judge_prompt: what judges are shown a question in.

    Raises:
        DefinitionError: no dataset, an empty one, one id twice, a case id twice within one, or a
            template field that a case lacks.
    """
    if not datasets:
        raise DefinitionError("datasets is empty: a run needs at least one", field="datasets")
    seen: set[str] = set()
    refs: list[DatasetRef] = []
    manifests: list[DatasetManifest] = []
    for dataset in datasets:
        if dataset.dataset_id in seen:
            raise DefinitionError(
                f"datasets holds '{dataset.dataset_id}' twice; give each its own dataset_id",
                field="datasets",
                value=dataset.dataset_id,
            )
        seen.add(dataset.dataset_id)
        try:
            manifest = _read(dataset, prompt_spec, judge_prompt)
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


class DatasetDigest:
    """The fingerprint of a dataset, of its cases as they come one by one.

    Args:
        revision: the dataset's.
        metadata: the dataset's.
    """

    def __init__(self, revision: str | None, metadata: Mapping[str, Any]) -> None:
        self._facts = digest_value("dataset", [revision, dict(metadata)])
        self._cases = hasher("cases")

    def update(self, digests: bytes | bytearray) -> None:
        """Add the next cases to the fingerprint, by the digest of each, one after the other."""
        self._cases.update(digests)

    def fingerprint(self) -> str:
        """Return the fingerprint of the cases so far."""
        return digest_parts("dataset", [self._facts, self._cases.digest()]).hex()


def stored_case(case: Case, digests: CaseDigests) -> StoredCase:
    """Return a case as a store keeps it: fields that say nothing left out."""
    fields: dict[str, Any] = {"input": case.input}
    if case.expected_output is not None:
        fields["expected_output"] = case.expected_output
    if case.metadata:
        fields["metadata"] = case.metadata
    return StoredCase(case_id=case.case_id, digest=digests.whole, raw=encode(fields))


def _read(
    dataset: Dataset, prompt_spec: PromptSpec | None, judge_prompt: PromptSpec | None
) -> DatasetManifest:
    digests = bytearray()
    ids = [array("Q") for _ in range(_BUCKETS)]
    fills = prompt_spec is not None and prompt_spec.template is not None
    asks = judge_prompt is not None and judge_prompt.template is not None
    for case in dataset:
        if fills:
            assert prompt_spec is not None
            _fill(prompt_spec, case.input, case, dataset.dataset_id)
        if asks:
            assert judge_prompt is not None
            _fill(judge_prompt, "a question", case, dataset.dataset_id)
        digests += CaseDigests(case).whole
        short = _short(case.case_id)
        ids[short >> _SHIFT].append(short)
    if not digests:
        raise DefinitionError(
            f"dataset '{dataset.dataset_id}' has no cases: give it at least one",
            field="datasets",
            value=dataset.dataset_id,
        )
    twice = _twice(ids)
    if twice:
        _refuse_duplicate(dataset, twice)
    whole = DatasetDigest(dataset.revision, dataset.metadata)
    whole.update(digests)
    return DatasetManifest(
        fingerprint=whole.fingerprint(), n_cases=len(digests) // DIGEST_BYTES, digests=digests
    )


def _fill(prompt_spec: PromptSpec, shown: JSONValue, case: Case, dataset_id: str) -> None:
    try:
        prompt_spec.render_input(shown, metadata=case.metadata)
    except DefinitionError as error:
        raise DefinitionError(
            f"{error} (case '{case.case_id}' of dataset '{dataset_id}')", field="template"
        ) from None


def _short(case_id: str) -> int:
    data = case_id.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")


def _twice(ids: Sequence[array[int]]) -> set[int]:
    """Return the short digests of case ids that occur more than once."""
    found: set[int] = set()
    for bucket in ids:
        if len(set(bucket)) < len(bucket):
            counts = Counter(bucket)
            found.update(short for short, count in counts.items() if count > 1)
    return found


def _refuse_duplicate(dataset: Dataset, twice: set[int]) -> None:
    """Name the first id that stands twice. Equal short digests of different ids pass.

    Args:
        dataset: read once more.
        twice: the short digests of all ids that may; only such ids are held.
    """
    seen: set[str] = set()
    for position, case in enumerate(dataset):
        if _short(case.case_id) not in twice:
            continue
        if case.case_id in seen:
            raise DefinitionError(
                f"dataset '{dataset.dataset_id}' has the case_id '{case.case_id}' twice (the "
                f"second is case {position + 1}); case ids are unique within a dataset",
                field="datasets",
                value=case.case_id,
            )
        seen.add(case.case_id)
