"""What an HTTP endpoint's address and body hold as written: where to send, and where secrets go.

Secrets stand there by reference (``env:NAME``), as a whole query value or a whole text of the body;
they are put in when a request is sent and are hidden in what is kept of it. References are known by
their place in what the user wrote: a case that says ``env:HOME`` is sent as it says. It sends
nothing itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import parse_qsl, quote, quote_plus, urlencode, urlsplit

from themis.adapters.transport.addresses import normalised_url
from themis.adapters.transport.references import is_whole_reference, resolve_reference
from themis.core.base import JSONObject, JSONValue
from themis.core.errors import DefinitionError
from themis.core.prompts import as_text
from themis.core.redaction import HIDDEN, is_secret_name, looks_like_secret

Place = tuple[str | int, ...]


class Address:
    """A URL, its query apart.

    Args:
        url: as the user wrote it.

    Raises:
        DefinitionError: it is no http address, or holds a secret that is written out.
    """

    def __init__(self, url: str) -> None:
        if not isinstance(url, str):
            raise _refusal("url", f"is a {type(url).__name__}, not an address")
        try:
            parts = urlsplit(url.strip())
        except ValueError:
            raise _no_address(url) from None
        if parts.username is not None or parts.password is not None:
            raise _refusal(
                "url",
                'holds a user or password: use headers={"Authorization": "Basic env:NAME"} instead',
            )
        try:
            host = normalised_url(parts._replace(path="", query="", fragment="").geturl())
        except DefinitionError:
            raise _no_address(url) from None
        # A path is sent as it stands: '/a' and '/a/' may be two services.
        self.normalised = host + ("" if parts.path == "/" else parts.path)
        if looks_like_secret(parts.path):
            raise _refusal("url", "holds a secret in its path; an endpoint must take it elsewhere")
        self._base = parts._replace(query="", fragment="").geturl()
        self._query = parse_qsl(parts.query, keep_blank_values=True)
        for name, value in self._query:
            if _is_written_out(name, value):
                raise _refusal(
                    "url",
                    f"holds a secret in '{name}': put it into an environment variable and write "
                    f"'?{name}=env:NAME'",
                )

    def sent(self, more: list[tuple[str, str]]) -> str:
        """Return the address with what its references stand for now, and a further query."""
        query = [
            (name, resolve_reference(value, f"url: {name}") if is_whole_reference(value) else value)
            for name, value in self._query
        ]
        return self._with([*query, *more])

    def shown(self, more: list[tuple[str, str]]) -> str:
        """Return the address as it may be kept."""
        return self._with([*self.query(), *more])

    def query(self) -> list[tuple[str, str]]:
        """Return the query, references hidden."""
        return [
            (name, HIDDEN if is_whole_reference(value) else value) for name, value in self._query
        ]

    @property
    def has_secrets(self) -> bool:
        """Whether its query holds a reference."""
        return any(is_whole_reference(value) for _, value in self._query)

    def secrets(self) -> Iterator[str]:
        """Yield what the references stand for now."""
        for name, value in self._query:
            if is_whole_reference(value):
                yield resolve_reference(value, f"url: {name}")

    def _with(self, query: list[tuple[str, str]]) -> str:
        return f"{self._base}?{urlencode(query, safe='[]')}" if query else self._base


class BodySecrets:
    """The references in a body as the user wrote it, by their places.

    Args:
        body: any JSON value.

    Raises:
        DefinitionError: it holds a secret that is written out.
    """

    def __init__(self, body: JSONValue) -> None:
        self._places = dict(_references(body, (), ""))

    @property
    def any(self) -> bool:
        """Whether there are any."""
        return bool(self._places)

    def sent(self, filled: JSONValue) -> JSONValue:
        """Return a filled body with what the references stand for now."""
        for place, value in self._places.items():
            filled = _replaced(filled, place, resolve_reference(value, _spelled(place)))
        return filled

    def shown(self, filled: JSONValue) -> JSONValue:
        """Return a body as it may be kept."""
        for place in self._places:
            filled = _replaced(filled, place, HIDDEN)
        return filled

    def secrets(self) -> Iterator[str]:
        """Yield what the references stand for now."""
        for place, value in self._places.items():
            yield resolve_reference(value, _spelled(place))


def query_of(body: JSONValue) -> list[tuple[str, str]]:
    """Return a body as a query: an object's fields, a list as a field that is repeated.

    Raises:
        DefinitionError: it is no object.
    """
    if body is None:
        return []
    if not isinstance(body, dict):
        raise DefinitionError(
            'body of a GET request becomes its query: give an object such as {"q": "{{ input }}"}',
            field="body",
        )
    pairs = [
        (name, item)
        for name, value in body.items()
        for item in (value if isinstance(value, list) else [value])
    ]
    return [(name, as_text(item)) for name, item in pairs if item is not None]


def has_template(text: str) -> bool:
    """Return whether a text has anything for a template engine to do."""
    return any(mark in text for mark in ("{{", "{%", "{#"))


def leaves(value: JSONValue) -> list[JSONValue]:
    """Return the values of a JSON value that are no lists or objects."""
    if isinstance(value, list):
        return [leaf for item in value for leaf in leaves(item)]
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves(item)]
    return [value]


def spellings(secrets: Iterable[str]) -> Iterator[str]:
    """Yield secrets as they may be echoed: as they are and as an address has them."""
    for secret in secrets:
        yield from (secret, quote(secret, safe=""), quote(secret), quote_plus(secret))


def _references(value: JSONValue, place: Place, name: str) -> Iterator[tuple[Place, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _references(item, (*place, key), key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _references(item, (*place, index), name)
    elif isinstance(value, str) and is_whole_reference(value):
        yield place, value
    elif _is_written_out(name, value):
        raise DefinitionError(
            f"{_spelled(place)} holds a secret: put it into an environment variable and write "
            "'env:NAME' here",
            field="body",
        )


def _is_written_out(name: str, value: JSONValue) -> bool:
    """Return whether a secret stands in a field itself, and not a reference to one."""
    if isinstance(value, str) and is_whole_reference(value):
        return False
    if isinstance(value, str) and looks_like_secret(value):
        return True
    filled_in = isinstance(value, str) and has_template(value)
    return is_secret_name(name) and not (value in (None, "") or value is False or filled_in)


def _replaced(value: JSONValue, place: Place, new: str) -> JSONValue:
    if not place:
        return new
    first, rest = place[0], place[1:]
    if isinstance(value, dict) and isinstance(first, str):
        changed: JSONObject = {**value, first: _replaced(value[first], rest, new)}
        return changed
    if isinstance(value, list) and isinstance(first, int):
        return [_replaced(one, rest, new) if at == first else one for at, one in enumerate(value)]
    raise AssertionError("a template keeps the shape of its body")


def _spelled(place: Place) -> str:
    steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in place]
    return "body" + "".join(steps)


def _no_address(url: str) -> DefinitionError:
    shown = "" if looks_like_secret(url) else f" = {url!r}"
    return _refusal(f"url{shown}", "must be an address such as 'http://localhost:8000/answer'")


def _refusal(what: str, why: str) -> DefinitionError:
    return DefinitionError(f"{what} {why}" if "=" not in what else f"{what}: {why}", field="url")
