"""A generator that asks no model: it reads outputs that were made elsewhere.

Its fingerprint is the digest of the outputs, so that they are never reused as the answers of a
model that was asked in a run. The artifacts of each output say where it comes from.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar

from themis.catalog.component import MustBe, ShippedPart, params_fingerprint
from themis.catalog.generators.output_rows import OutputRows
from themis.core.contexts import GenerateContext
from themis.core.errors import ComponentError
from themis.core.models import Case, GenerationResult


class NoOutputError(ComponentError):
    """The outputs hold none for a sample."""

    retryable = False


class _GivenOutputs(ShippedPart):
    """Gives each sample the output that a row has for it; a sample without one is a failure.

    Rows of other cases are ignored. A case that two datasets hold alike gets one answer, as with
    every generator.
    """

    component_id = "builtin/outputs"

    @property
    def _rows(self) -> OutputRows:
        raise NotImplementedError

    @property
    def fingerprinted(self) -> dict[str, Any]:
        """Which outputs they are."""
        rows = self._rows
        return {"file": rows.name, "sha256": rows.sha256, "outputs": len(rows)}

    def fingerprint(self) -> str:
        """Return the digest of what the outputs are, wherever they stand."""
        return params_fingerprint(sha256=self._rows.sha256)

    @property
    def made_elsewhere(self) -> str:
        """The note that every run with these outputs carries."""
        return (
            f"outputs were made elsewhere: they come from {self._rows.name} "
            f"(sha256 {self._rows.sha256}), and no model was asked for them"
        )

    async def generate(self, case: Case, ctx: GenerateContext) -> GenerationResult:
        """Return the sample's output, with where it comes from among its artifacts.

        Raises:
            NoOutputError: there is none.
        """
        row = self._rows.find(ctx.dataset_id, case.case_id, ctx.sample_index)
        if row is None:
            raise NoOutputError(
                f"{self._rows.name} has no output for case '{case.case_id}', "
                f"sample {ctx.sample_index}"
            )
        origin = {"file": self._rows.name, "sha256": self._rows.sha256, "line": row.line}
        artifacts = {**(row.result.artifacts or {}), "imported": origin}
        return row.result.model_copy(update={"artifacts": artifacts})


class OutputsInRows(_GivenOutputs):
    """Gives each sample the output that a row has for it, of rows that are read already."""

    rows: OutputRows
    """The rows."""

    @property
    def _rows(self) -> OutputRows:
        return self.rows


class Outputs(_GivenOutputs):
    """Gives each sample the output that a JSON Lines file has for it.

    A row says ``case_id`` and ``output``, and may say ``dataset_id``, ``sample`` (from 0, the
    default), ``token_usage``, ``latency_ms``, ``trace``, ``conversation``, ``artifacts`` and
    ``candidate_id``.
    """

    path_params: ClassVar[Sequence[str]] = ("path",)
    """Params that say where a file is, whose content is in the fingerprint."""

    path: Annotated[str, MustBe("the path of a file", str.strip)]
    """The file. Where it stands is no part of identity: what it holds is."""

    def model_post_init(self, context: object, /) -> None:
        """Read the file, so that what is wrong with it is refused before a run."""
        del context
        _ = self._rows

    @cached_property
    def _rows(self) -> OutputRows:
        return OutputRows.in_file(self.path)
