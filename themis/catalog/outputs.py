"""A generator that asks nobody: it reads outputs that were made elsewhere.

Its fingerprint is the digest of the outputs, so that no step under its key is ever taken for the
work of a model that this framework asked; and what it gives says where it comes from.
"""

from __future__ import annotations

from themis.catalog.output_rows import OutputRows
from themis.catalog.shipped import ShippedComponent
from themis.core.contexts import GenerateContext
from themis.core.errors import ComponentError
from themis.core.models import Case, GenerationResult


class NoOutputError(ComponentError):
    """The outputs have none for a sample."""

    retryable = False


class FromRows(ShippedComponent):
    """Gives each sample the output that a row has for it; a sample without one is a failure.

    Rows of other cases are left alone. A case that two datasets hold alike gets one answer, as with
    every generator.
    """

    component_id = "builtin/outputs"

    def __init__(self, rows: OutputRows) -> None:
        super().__init__({"sha256": rows.sha256})
        self.rows = rows
        self.fingerprinted = {"file": rows.name, "sha256": rows.sha256, "outputs": len(rows)}
        self.made_elsewhere = (
            f"outputs were made elsewhere: they come from {rows.name} "
            f"(sha256 {rows.sha256}), and no model was asked for them"
        )
        """What is to be said of every run that uses it."""

    async def generate(self, case: Case, ctx: GenerateContext) -> GenerationResult:
        """Return the sample's output, with where it comes from among its artifacts.

        Raises:
            NoOutputError: there is none.
        """
        row = self.rows.find(ctx.dataset_id, case.case_id, ctx.sample_index)
        if row is None:
            raise NoOutputError(
                f"{self.rows.name} has no output for case '{case.case_id}', "
                f"sample {ctx.sample_index}"
            )
        origin = {"file": self.rows.name, "sha256": self.rows.sha256, "line": row.line}
        artifacts = {**(row.result.artifacts or {}), "imported": origin}
        return row.result.model_copy(update={"artifacts": artifacts})


class Outputs(FromRows):
    """Gives each sample the output that a JSON Lines file has for it.

    A row says ``case_id`` and ``output``, and may say ``dataset_id``, ``sample`` (from 0, the
    default), ``token_usage``, ``latency_ms``, ``trace``, ``conversation``, ``artifacts`` and
    ``candidate_id``.

    Args:
        path: the file. Where it stands is no part of identity: what it holds is.
    """

    path_params = ("path",)
    """Params that say where a file is, whose content is in the fingerprint."""

    def __init__(self, *, path: str) -> None:
        super().__init__(OutputRows.in_file(self.text_param("path", path, "the path of a file")))
