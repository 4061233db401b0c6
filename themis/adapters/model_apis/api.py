"""What an API of model endpoints says of itself, so that all else is shared.

A request is one form here: its parts, and the body that is made of them and kept as evidence. An
answer is read out of JSON data into ``Said``; pieces of one are put together as if it had come
whole. A provider speaks one API or several, each the same way for all of its models.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from themis.adapters.transport.model_answers import Said, field
from themis.core.base import JSONObject, JSONValue
from themis.core.errors import DefinitionError

_VERSION = re.compile(r"/v\d+(?:(?:alpha|beta)\d*)?")


class Parts(NamedTuple):
    """What a request is made of."""

    model: str
    content: JSONValue
    """Text, or chat messages."""
    instructions: str | None = None
    """The system message, where there is one."""
    sampling: JSONObject = {}  # noqa: RUF012 - of a tuple, never changed
    """Canonical sampling parameters."""
    seed: int | None = None
    """The sample's, sent where the API takes one."""
    stream: bool = False
    """Whether the answer is to come in pieces, its usage included."""


class PiecedAnswer(Protocol):
    """An answer while its pieces come."""

    done: bool
    """Whether a piece said that it was the last."""

    def add(self, event: dict[str, Any]) -> bool:
        """Take an event; return whether a piece of the answer is in it."""

    def whole(self) -> dict[str, Any] | None:
        """Return the answer as it comes whole; None where the stream ended before it."""


class Api:
    """One API; the defaults are those of OpenAI's."""

    mode: str
    """Its name, as ``api_mode`` has it."""
    version = ""
    """The part of a call's path that an endpoint's address may have or leave out."""
    tells_cuts = True
    """Whether it says by itself that an answer took all of the tokens that it was allowed."""

    def check(self, sampling: JSONObject) -> None:
        """Refuse sampling parameters that the API has no place for, or that lack what it needs.

        Raises:
            DefinitionError: naming the parameter.
        """

    def body(self, parts: Parts) -> JSONObject:
        """Return the request, as it is kept."""
        raise NotImplementedError

    def target(self, body: JSONObject) -> tuple[str, JSONObject]:
        """Return the path of a call, below the endpoint's address, and the body as it is sent."""
        raise NotImplementedError

    def read(self, source: Any, endpoint: str) -> Said:
        """Return what was said in an answer.

        Raises:
            ProviderError: it failed, or has no place for an answer.
        """
        raise NotImplementedError

    def usage(self, source: Any) -> Any:
        """Return an answer's account of its tokens, in the form of either of OpenAI's APIs."""
        return field(source, "usage")

    def pieces(self) -> PiecedAnswer:
        """Return an answer of which nothing has come."""
        raise NotImplementedError

    def countable(self, parts: Parts) -> JSONObject:
        """Return a body of OpenAI's with the same texts, of which tokens are counted."""
        return self.body(parts)


class Dialect(NamedTuple):
    """How one provider is asked."""

    provider: str
    """Its name: the extra that brings the HTTP library, and the first part of the limits' key."""
    apis: Mapping[str, Api]
    """By their modes, the default one first."""
    headers: Callable[[str], dict[str, str]]
    """Makes the headers of every request out of a key."""
    address: str | None = None
    """Where it is, if the user does not say."""
    address_variable: str | None = None
    """The environment variable that says it before that."""
    key_variables: tuple[str, ...] = ()
    """The environment variables that may hold its key."""

    def api(self, mode: str) -> Api:
        """Return an API by its mode.

        Raises:
            DefinitionError: the provider has none of that name.
        """
        found = self.apis.get(mode)
        if found is None:
            raise DefinitionError(
                f"api_mode = {mode!r}: must be one of {', '.join(self.apis)}",
                field="api_mode",
                value=mode,
            )
        return found


def bearer(key: str) -> dict[str, str]:
    """Return the header of a key as OpenAI and most others want it."""
    return {"authorization": f"Bearer {key}"}


def versioned(base_url: str, version: str) -> str:
    """Return an endpoint's address with the API's version, unless it names one itself."""
    last = "/" + base_url.rpartition("/")[2]
    return base_url if not version or _VERSION.fullmatch(last) else base_url + version
