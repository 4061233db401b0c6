"""Renders a report in one of the formats, as text or into a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Unpack

from themis.core.errors import DefinitionError, did_you_mean
from themis.core.store import RunStore
from themis.reporting.facts import ReportFacts, ReportOptions, report_facts

_FORMATS = {
    "csv": (".csv", "themis.reporting.as_csv"),
    "html": (".html", "themis.reporting.as_html"),
    "json": (".json", "themis.reporting.as_json"),
    "latex": (".tex", "themis.reporting.as_latex"),
    "markdown": (".md", "themis.reporting.as_markdown"),
}
"""By name: the suffix of its files, and the module whose ``render`` writes it."""

Renderer = Callable[[ReportFacts], Iterator[str]]


class Reporter:
    """Renders reports of the runs in a store.

    Args:
        store: where the runs are; it is only read.

    Example:
        ``Reporter(store).write(run_id, "report.html")``
    """

    formats: tuple[str, ...] = tuple(_FORMATS)
    """Names of the formats. "csv" is the score table, row by row; the others tell the headline."""

    def __init__(self, store: RunStore) -> None:
        self._store = store

    def render(
        self,
        run_id: str | Sequence[str],
        format: str = "markdown",  # noqa: A002 - the word users expect
        metric_ids: Collection[str] | None = None,
        **options: Unpack[ReportOptions],
    ) -> str:
        """Return a report as text.

        Args:
            run_id: the run, or several to be shown side by side; ``RUN@n`` is one as of its
                attempt n.
            format: one of ``formats``.
            metric_ids: the metrics to tell of; all by default.
            **options: see ``ReportOptions``.

        Raises:
            DefinitionError: an unknown format or metric, or labels that do not match the runs.
            RunNotFoundError: the store has no such run.
        """
        return "".join(self.stream(run_id, format, metric_ids, **options))

    def stream(
        self,
        run_id: str | Sequence[str],
        format: str = "markdown",  # noqa: A002 - the word users expect
        metric_ids: Collection[str] | None = None,
        **options: Unpack[ReportOptions],
    ) -> Iterator[str]:
        """Return a report as pieces of text, made as they are taken: a CSV of any size.

        Arguments and errors are those of ``render``; what is refused is refused at once.
        """
        renderer = _renderer(format)
        facts = report_facts(self._store, run_id, metric_ids=metric_ids, **options)
        return renderer(facts)

    def write(
        self,
        run_id: str | Sequence[str],
        path: str | os.PathLike[str],
        format: str | None = None,  # noqa: A002 - the word users expect
        metric_ids: Collection[str] | None = None,
        **options: Unpack[ReportOptions],
    ) -> Path:
        """Write a report to a file, in place of what was there, and return its path.

        Args:
            run_id: the run, or several to be shown side by side; ``RUN@n`` is one as of its
                attempt n.
            path: the file; its suffix says the format (.md, .json, .csv, .tex, .html).
            format: one of ``formats``, where the suffix does not say.
            metric_ids: the metrics to tell of; all by default.
            **options: see ``ReportOptions``.

        Raises:
            DefinitionError: an unknown format, suffix or metric, or labels that do not match.
            RunNotFoundError: the store has no such run.
            OSError: the file cannot be written; what was there stands.
        """
        target = Path(path)
        if target.is_dir():
            raise DefinitionError(
                f"'{os.fspath(path)}' is a folder; name a file in it", field="path", value=str(path)
            )
        renderer = _renderer(_format_of(target) if format is None else format)
        facts = report_facts(self._store, run_id, metric_ids=metric_ids, **options)
        # A reader never finds half a report, and a failure leaves the old one.
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        with _naming(path):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with partial.open("w", encoding="utf-8", newline="") as file:
                    file.writelines(renderer(facts))
                partial.replace(target)
            finally:
                partial.unlink(missing_ok=True)
        return target


@contextmanager
def _naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Have what a file system refuses tell of the path that was given, not of a half-made file."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def _renderer(name: str) -> Renderer:
    if name not in _FORMATS:
        raise DefinitionError(
            f"no report format '{name}'{did_you_mean(name, _FORMATS)}",
            field="format",
            value=name,
        )
    renderer: Renderer = import_module(_FORMATS[name][1]).render
    return renderer


def _format_of(path: Path) -> str:
    suffixes = {suffix: name for name, (suffix, _) in _FORMATS.items()}
    suffix = path.suffix.lower()
    if suffix not in suffixes:
        raise DefinitionError(
            f"'{path}' does not say its format by its suffix: end it in one of "
            f"{', '.join(suffixes)}, or give format=",
            field="path",
            value=str(path),
        )
    return suffixes[suffix]
