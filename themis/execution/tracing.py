"""Spans for OpenTelemetry, where its API is installed. What receives them is the user's set-up."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from themis.core.errors import MissingExtraError


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
