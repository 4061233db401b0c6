"""A Python function as a generator: the shortest way from your own code to a run.

How it is called follows from what it takes. A function of one argument is given what would be sent
to a model: the input, through the prompt spec. A function of two is given the case and the context,
and may use ``ctx.prompt_spec`` as it likes. What a function does inside is not known here: no
client is made for it, only the function as a whole is retried, and what it keeps between calls is
not seen.
"""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Collection
from typing import Annotated, Any

from themis.adapters.prompting.function_fingerprint import fingerprint_function
from themis.adapters.prompting.input_builder import normal_case
from themis.adapters.prompting.messages import one_input
from themis.core.base import JSONObject, JSONValue
from themis.core.config_roles import OBJECT
from themis.core.contexts import GenerateContext
from themis.core.errors import DefinitionError, InvalidResultError
from themis.core.hashing import check_json, normal_form
from themis.core.models import Case, GenerationResult
from themis.core.prompts import as_text

_UNVERSIONED = "unversioned"
_TEMPLATE_TOKENS = 256


class FunctionGenerator:
    """Generates by calling a function once a sample."""

    def __init__(
        self,
        call: Callable[..., Any],
        *,
        name: str,
        version: str | None,
        fingerprint: str,
        takes_context: bool,
        reads: Collection[str] | None,
        provider_key: str | None,
        max_output_tokens: int | None,
    ) -> None:
        self.component_id = f"function/{name}"
        self.version = _UNVERSIONED if version is None else version
        self.reuse_across_runs = version is not None
        self.takes_context = takes_context
        everything = ("input", "expected_output", "metadata")
        if reads is None:
            reads = everything if takes_context else ("input",)
        self.reads = frozenset((reads,) if isinstance(reads, str) else reads)
        self.provider_key = provider_key
        self.max_output_tokens = max_output_tokens
        self.users_function = call
        self._fingerprint = fingerprint

    def __repr__(self) -> str:
        return f"function({self.component_id.partition('/')[2]}, version={self.version!r})"

    def fingerprint(self) -> str:
        """Return a digest over the function's source, or over the user's ``fingerprint=``."""
        return self._fingerprint

    def request(self, case: Case, ctx: GenerateContext) -> JSONObject:
        """Return what the function would be given for a sample."""
        if not self.takes_context:
            return {"input": _given(case, ctx)}
        return {
            "case": normal_case(case).model_dump(mode="json"),
            "seed": ctx.seed,
            "sample_index": ctx.sample_index,
        }

    def estimate_tokens(self, case: Case, ctx: GenerateContext) -> int:
        """Return about how many tokens the rendered input has: a token for every 4 characters."""
        return -(-len(as_text(_given(case, ctx))) // 4)

    def max_prompt_tokens(self, case: Case, ctx: GenerateContext) -> int:
        """Return the tokens that the rendered input has at most: one for each of its bytes."""
        return len(as_text(_given(case, ctx)).encode()) + _TEMPLATE_TOKENS

    def _call(self, case: Case, ctx: GenerateContext) -> tuple[Any, JSONObject | None]:
        """Return what the function gave, and what it was given where that is not the case."""
        if self.takes_context:
            return self.users_function(normal_case(case), ctx), None
        given = _given(case, ctx)
        sent = normal_form(given)  # a copy: the function may change what it is given
        return self.users_function(given), {"request": {"input": sent}}

    def _result(
        self, value: Any, case: Case, ctx: GenerateContext, sent: JSONObject | None, began: float
    ) -> GenerationResult:
        if isinstance(value, GenerationResult):
            return value
        try:
            check_json(value, "what the function returned")
        except DefinitionError as error:
            raise InvalidResultError(
                f"{error}; return text, a JSON value or a GenerationResult"
            ) from None
        return GenerationResult(
            candidate_id=f"{case.case_id}-{ctx.sample_index}",
            final_output=value,
            artifacts=sent,
            latency_ms=(time.perf_counter() - began) * 1000,
        )


class AsyncFunctionGenerator(FunctionGenerator):
    """Calls an async function, on the event loop."""

    async def generate(self, case: Case, ctx: GenerateContext) -> GenerationResult:
        """Return what the function gives for the case.

        Raises:
            InvalidResultError: it gave what is neither JSON nor a GenerationResult.
        """
        began = time.perf_counter()
        awaitable, sent = self._call(case, ctx)
        return self._result(await awaitable, case, ctx, sent, began)


class SyncFunctionGenerator(FunctionGenerator):
    """Calls a sync function; the engine does so in a thread, which it can leave behind."""

    def generate(self, case: Case, ctx: GenerateContext) -> Any:
        """Return what the function gives for the case; an awaitable of it where it gives one.

        Raises:
            InvalidResultError: it gave what is neither JSON nor a GenerationResult.
        """
        began = time.perf_counter()
        value, sent = self._call(case, ctx)
        if inspect.isawaitable(value):
            return self._awaited(value, case, ctx, sent, began)
        return self._result(value, case, ctx, sent, began)

    async def _awaited(
        self,
        awaitable: Any,
        case: Case,
        ctx: GenerateContext,
        sent: JSONObject | None,
        began: float,
    ) -> GenerationResult:
        return self._result(await awaitable, case, ctx, sent, began)


def function(
    callable: Annotated[Callable[..., Any], OBJECT],  # noqa: A002 - what a config file calls it
    *,
    version: str | None = None,
    fingerprint: str | None = None,
    provider_key: str | None = None,
    reads: Collection[str] | None = None,
    max_output_tokens: int | None = None,
    name: str | None = None,
) -> FunctionGenerator:
    """Return a generator that calls a function, sync or async.

    The arguments that have no default decide how it is called:

    - one: ``f(prompt)``. It is given the input through the prompt spec: text, chat messages where
      the input is such or examples are turns, or else the JSON value itself. Instructions are the
      first message where there are messages, and otherwise stand before the input, a blank line
      between.
    - two: ``f(case, ctx)``. It is given the case, with what it does not read blanked, and the
      context; it may use ``ctx.prompt_spec`` as it likes.

    JSON values come in their normal form: keys sorted, integral floats as integers.

    It returns text, any JSON value, or a ``GenerationResult``. A sync function runs in a thread.

    Args:
        callable: a function, lambda or ``functools.partial``; a bound method or callable object
            with ``fingerprint=``.
        version: its version; raise it when its behaviour changes. Without one, its answers are
            reused within their run only.
        fingerprint: a name for what it does, where its source cannot say it.
        provider_key: name of the endpoint it calls, by which limits are set.
        reads: what of the case a function of two arguments reads, of "input", "expected_output"
            and "metadata"; all by default.
        max_output_tokens: the cap on output tokens of the one model call that it makes with what it
            is given; a budget needs it.
        name: its name in tables; the function's own by default.

    Raises:
        DefinitionError: it cannot be called so, or its behaviour cannot be seen.
    """
    _check(callable, name, version, max_output_tokens)
    takes_context = _takes_context(callable)
    if reads is not None and not takes_context:
        raise DefinitionError(
            "reads= is for a function of (case, ctx); one of one argument is given the input only",
            field="reads",
        )
    kind = AsyncFunctionGenerator if _is_async(callable) else SyncFunctionGenerator
    return kind(
        callable,
        name=name or _name_of(callable),
        version=version,
        fingerprint=fingerprint_function(callable, fingerprint),
        takes_context=takes_context,
        reads=reads,
        provider_key=provider_key,
        max_output_tokens=max_output_tokens,
    )


def _given(case: Case, ctx: GenerateContext) -> JSONValue:
    return one_input(case.input, ctx.prompt_spec, case.metadata)


def _check(fn: Any, name: str | None, version: str | None, cap: int | None) -> None:
    if not callable(fn) or inspect.isclass(fn):
        what = f"the class {fn.__name__}" if inspect.isclass(fn) else f"a {type(fn).__name__}"
        raise DefinitionError(f"callable is {what}: give a function", field="callable")
    inner = _innermost(fn)
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        raise DefinitionError(
            f"{_name_of(fn)} yields: give a function that returns its whole answer",
            field="callable",
        )
    if name is not None and (not name or not name.isprintable()):
        raise DefinitionError(f"name = {name!r}: must be text on one line", field="name")
    if version == "":
        raise DefinitionError("version is empty: name one, or leave it out", field="version")
    if cap is not None and (type(cap) is not int or cap < 1):
        raise DefinitionError(
            f"max_output_tokens = {cap!r}: must be a number of tokens, 1 or more",
            field="max_output_tokens",
            value=cap,
        )


def _takes_context(fn: Callable[..., Any]) -> bool:
    """Return whether a function takes (case, ctx) rather than the rendered input."""
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        raise _ill_shaped(fn, "does not say what arguments it takes") from None
    needed = [one for one in parameters if one.default is one.empty]
    by_name = [one.name for one in needed if one.kind is one.KEYWORD_ONLY]
    if by_name:
        raise _ill_shaped(fn, f"needs the argument {by_name[0]} by name")
    placed = [one for one in needed if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    if len(placed) not in (1, 2):
        raise _ill_shaped(fn, f"takes {len(placed)} arguments without a default")
    return len(placed) == 2


def _ill_shaped(fn: Any, why: str) -> DefinitionError:
    return DefinitionError(
        f"{_name_of(fn)} {why}: it must take one (the rendered input) or two (the case and the "
        "context)",
        field="callable",
    )


def _is_async(fn: Any) -> bool:
    return inspect.iscoroutinefunction(_innermost(fn))


def _innermost(fn: Any) -> Any:
    """Return the function behind partials, or the call of an object."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return fn if inspect.isroutine(fn) else type(fn).__call__


def _name_of(fn: Any) -> str:
    while isinstance(fn, functools.partial):
        fn = fn.func
    return getattr(fn, "__name__", None) or type(fn).__name__
