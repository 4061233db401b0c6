"""The options that all adapters of model endpoints share, each written once.

A factory takes them as ``**options``, which the type checker reads by their names and types, and
names itself only what it has of its own. At run time its signature and its docstring list them all.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from inspect import Parameter
from typing import Annotated, Any, ParamSpec, TypedDict, TypeVar, get_args, get_type_hints

from themis.adapters.transport.connections import OF_CLIENT_OPTIONS
from themis.core.config_roles import OBJECT
from themis.core.errors import DefinitionError, did_you_mean

P = ParamSpec("P")
T = TypeVar("T")


class AskOptions(TypedDict, total=False):
    """How a model is asked: what is common to generators and judges of all providers.

    Attributes:
        instructions: the system message; the prompt spec's instructions come after it.
        sampling: ``temperature``, ``top_p``, ``top_k``, ``max_output_tokens``, ``seed``, ``stop``,
            ``reasoning_effort``, ``response_format``, ``tools`` and the like, by these names
            whatever the API calls them; part of identity.
        stream: whether answers come in pieces, so that ``artifacts["first_token_ms"]`` tells when
            they began; False by default, no part of identity.
        model_id: what is served there; stands in identity in place of ``base_url``.
        client_options: of the connections. ``headers``, a secret in them as ``env:NAME`` or
            ``Bearer env:NAME``; ``proxy``, a URL, in which ``env:NAME`` may stand for the
            password (by default the environment's proxies are used); ``verify``, True, False or a
            CA file; ``timeout``, seconds between two bytes of an answer, none by default.
        fingerprint: a name for what ``input_builder`` does, where its source cannot say it.
    """

    instructions: str | None
    sampling: Mapping[str, Any]
    stream: bool
    model_id: str | None
    client_options: Annotated[Mapping[str, Any], OF_CLIENT_OPTIONS]
    fingerprint: str | None


class ModelOptions(AskOptions, total=False):
    """How a model of OpenAI's or of vLLM is asked.

    Attributes:
        client: an ``AsyncOpenAI`` or a stand-in for one; Themis's own by default.
        api_mode: "responses", the default, or "chat_completions".
    """

    client: Annotated[Any, OBJECT]
    api_mode: str


DEFAULTS: ModelOptions = {
    "instructions": None,
    "sampling": {},
    "stream": False,
    "model_id": None,
    "client_options": {},
    "fingerprint": None,
    "client": None,
    "api_mode": "responses",
}
_IN_DOCSTRINGS = re.compile(r"    \*\*options: those of ``\w+``\.")


def takes_options(factory: Callable[P, T]) -> Callable[P, T]:
    """Return a factory whose signature names the options that its ``**options`` takes.

    A name that it does not take is refused with the nearest that it does.
    """
    *own, last = inspect.signature(factory, eval_str=True).parameters.values()
    (options,) = get_args(last.annotation)
    shared = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=DEFAULTS.get(name), annotation=hint)
        for name, hint in get_type_hints(options, include_extras=True).items()
    ]
    signature = inspect.Signature([*own, *shared])

    @functools.wraps(factory)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        for name in kwargs:
            if name not in signature.parameters:
                raise DefinitionError(
                    f"{factory.__name__} has no argument '{name}'"
                    f"{did_you_mean(name, signature.parameters)}",
                    field=name,
                )
        return factory(*args, **kwargs)

    told = "\n".join(map(_attributes, dict.fromkeys((AskOptions, options))))
    doc = inspect.cleandoc(factory.__doc__ or "")
    checked.__doc__ = _IN_DOCSTRINGS.sub(lambda _: told, doc)
    checked.__signature__ = signature  # type: ignore[attr-defined]
    return checked


def _attributes(options: type) -> str:
    """Return what a docstring says of each option."""
    return inspect.cleandoc(options.__doc__ or "").partition("Attributes:\n")[2]
