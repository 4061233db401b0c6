"""Telling others: subscribers and tracing. Theirs to look, never to change or to break a run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from themis.core.config import STAGE_NAMES
from themis.core.errors import DefinitionError, MissingExtraError
from themis.core.events import Event, EventKind, StepAddress
from themis.core.protocols import TracingProvider
from themis.core.shown_text import logger

_LOG = logger()
_NONE = object()
"""Stands for what a listener that raised did not say."""
_AFTER = (EventKind.STEP_DONE, EventKind.STEP_FAILED)


class Hooks:
    """The subscribers and the tracing provider of one run."""

    def __init__(self, subscribers: Sequence[Any] | None, tracing: TracingProvider | None) -> None:
        self._tracing = tracing
        self.traces = tracing is not None
        """Whether there is a tracing provider."""
        self._reported: set[tuple[int, str]] = set()
        self._on_event: list[Callable[..., Any]] = []
        self._before: dict[str, list[Callable[..., Any]]] = {}
        self._after: dict[str, list[Callable[..., Any]]] = {}
        for subscriber in subscribers or ():
            self._subscribe(subscriber)
        self.tells_before = bool(self._before)
        """Whether anybody wants to be told that a step begins."""
        self.listens = bool(self._on_event or self._after)
        """Whether anybody wants to be told of events."""

    def before(self, case_id: str, address: StepAddress) -> None:
        """Tell that a step's work is about to begin."""
        for method in self._before.get(address.stage, ()):
            self._tell(method, case_id, address)

    def committed(self, events: Sequence[Event]) -> None:
        """Tell of events, after their commit."""
        for event in events:
            for method in self._on_event:
                self._tell(method, event)
            if event.kind in _AFTER and event.address is not None:
                for method in self._after.get(event.address.stage, ()):
                    self._tell(method, event)

    @contextmanager
    def span(self, name: str, attributes: Mapping[str, Any]) -> Iterator[None]:
        """Trace what happens within; an error is passed on."""
        if self._tracing is None:
            yield
            return
        span = self._tell(self._tracing.start_span, name, attributes)
        status = "error"
        try:
            yield
            status = "ok"
        finally:
            if span is not _NONE:
                self._tell(self._tracing.end_span, span, status)

    def _subscribe(self, subscriber: Any) -> None:
        found = False
        if callable(getattr(subscriber, "on_event", None)):
            self._on_event.append(_plain(subscriber.on_event))
            found = True
        for stage in STAGE_NAMES:
            for table, name in ((self._before, f"before_{stage}"), (self._after, f"after_{stage}")):
                method = getattr(subscriber, name, None)
                if callable(method):
                    table.setdefault(stage, []).append(_plain(method))
                    found = True
        if not found:
            raise DefinitionError(
                f"subscriber {type(subscriber).__name__} has neither on_event nor any "
                "before_/after_ method of a stage",
                field="subscribers",
            )

    def _tell(self, method: Callable[..., Any], *args: Any) -> Any:
        """Call a listener and return what it says; one that raises is reported once."""
        try:
            return method(*args)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a listener must not break a run
            owner = getattr(method, "__self__", None)
            name = f"{type(owner).__name__}.{getattr(method, '__name__', method)}"
            if (id(owner), name) not in self._reported:
                self._reported.add((id(owner), name))
                _LOG.warning("%s raised %s: %s; the run goes on", name, type(error).__name__, error)
            return _NONE


def _plain(method: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(method):
        owner = type(getattr(method, "__self__", None)).__name__
        raise DefinitionError(
            f"subscriber {owner}.{method.__name__} is async; a subscriber's methods are plain "
            "ones, called after each commit",
            field="subscribers",
        )
    return method


class OpenTelemetryTracing:
    """A ``TracingProvider`` that hands spans to OpenTelemetry's global tracer provider.

    Args:
        tracer: a tracer of your own; by default the global provider's, named "themis".

    Raises:
        MissingExtraError: OpenTelemetry is not installed.
    """

    def __init__(self, tracer: Any = None) -> None:
        try:
            self._trace: Any = import_module("opentelemetry.trace")
        except ImportError:
            raise MissingExtraError(
                extra="opentelemetry", needed_for="OpenTelemetryTracing"
            ) from None
        self._context: Any = import_module("opentelemetry.context")
        self._tracer = self._trace.get_tracer("themis") if tracer is None else tracer

    def start_span(self, name: str, attributes: Mapping[str, Any]) -> Any:
        """Begin a span under the current one and make it current."""
        span = self._tracer.start_span(name, attributes=dict(attributes))
        token = self._context.attach(self._trace.set_span_in_context(span))
        return span, token

    def end_span(self, span: Any, status: str) -> None:
        """End a span with status "ok" or "error"."""
        opened, token = span
        code = self._trace.StatusCode.OK if status == "ok" else self._trace.StatusCode.ERROR
        opened.set_status(code)
        self._context.detach(token)
        opened.end()
