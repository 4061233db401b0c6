"""What an endpoint says of an error, whatever form it says it in: its words, its codes, the field.

Servers answer with ``error`` as a text or an object, with ``detail`` (FastAPI's list of fields
too), ``message``, ``errors``, a problem's ``title``, a page of HTML, or a line of text. Nothing is
decided here and nothing hidden: the one who asks cuts the words to length after hiding secrets.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from typing import Any

from themis.adapters.transport.lenient_json import read_json
from themis.adapters.transport.meanings import REFUSAL, Meaning, Told, reason_of

_LONGEST_READ = 10_000  # of a page that is all a server had to say
_MOST_SAID = 3  # of a list of errors
_DEEPEST = 6
_FIELDS = (
    "error", "message", "msg", "detail", "details", "errors", "error_description", "error_message",
    "title", "reason", "description",
)  # fmt: skip
"""Where the words stand, the more telling first."""
_CODE_FIELDS = ("code", "type", "status", "error_code", "errorCode")
_INNER = ("error", "innererror", "inner_error", "message", "detail", "metadata")
"""Where further codes stand."""
_GENERIC = re.compile(
    r"provider returned error|upstream error|error code: \d+|bad request", re.IGNORECASE
)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)
_HEADING = re.compile(r"<h1[^>]*>(.*?)</h1", re.IGNORECASE | re.DOTALL)
_UNSEEN = re.compile(r"<(script|style|head)\b.*?</\1\s*>|<!--.*?-->", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^>]{0,2000}>")
_MARKUP = re.compile(r"\s*(?:<!doctype|<html|<\?xml|<head|<body|<h\d|<p\b|<center)", re.IGNORECASE)
_SECONDS = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")
NOTHING = "nothing more"


def told_by(body: Any, *, status: int | None = None, begun: bool = False) -> Told:
    """Return what an answer's body tells of an error.

    Args:
        body: its bytes, its text, or the JSON in it.
        status: of the answer, where it says that it is none; a number that the body gives as its
            code counts where there is none.
        begun: whether an answer had begun.
    """
    data = data_in(body)
    codes, numbers = _codes(data)
    if status is None:
        status = next((one for one in numbers if 300 <= one < 600), None)
    return Told(
        words=words_of(data) or NOTHING,
        codes=frozenset(codes),
        status=status,
        param=_param(data),
        begun=begun,
        wait=_wait(data),
    )


def words_of(data: Any) -> str:
    """Return the words of an error in one line; nothing where there are none."""
    return " ".join(_said(data, 0).split())


def complaint_in(data: Any) -> str:
    """Return the words of an error in an answer's JSON; nothing where it holds none."""
    holds = isinstance(data, dict) and any(data.get(name) for name in _FIELDS)
    return words_of(data) if holds else ""


def page_title(text: str) -> str:
    """Return the title of a page of HTML; nothing where the text is none, or it has none."""
    found = _TITLE.search(text) if _MARKUP.match(text) else None
    return "" if found is None else _stripped(found[1])


def tells_of_error(data: Any) -> bool:
    """Return whether an answer's JSON tells of an error."""
    return isinstance(data, dict) and any(data.get(name) for name in ("error", "errors"))


def data_in(body: Any) -> Any:
    """Return the JSON in an answer's body; its text where it is none."""
    if isinstance(body, (bytes, bytearray)):
        raw = bytes(body)
        try:
            return read_json(raw)
        except ValueError:
            return raw.decode("utf-8", "replace")
    if isinstance(body, str):
        try:
            return read_json(body.encode("utf-8", "replace"))
        except ValueError:
            return body
    return body


def _said(value: Any, depth: int) -> str:
    if isinstance(value, str):
        return _of_text(value[:_LONGEST_READ])
    if isinstance(value, list):
        said = [one for item in value[:_MOST_SAID] if (one := _said(item, depth + 1))]
        return "; ".join(said) + ("; ..." if len(value) > _MOST_SAID else "")
    if not isinstance(value, dict) or depth > _DEEPEST:
        return ""
    if (field := _place(value)) and isinstance(value.get("msg"), str):
        return f"{field}: {value['msg']}"
    parts = [one for name in _FIELDS if (one := _said(value.get(name), depth + 1))]
    if not parts:
        codes = (value.get(name) for name in _CODE_FIELDS)
        return next((one for one in codes if isinstance(one, str)), "") if depth else _plain(value)
    raw = value.get("metadata")
    if isinstance(raw, dict) and _GENERIC.fullmatch(parts[0].strip()):
        parts[0] = ": ".join(filter(None, (parts[0], _said(data_in(raw.get("raw")), depth + 1))))
    first = parts[0]
    # A title is what a problem is, its detail which one it is.
    if (title := value.get("title")) and isinstance(title, str) and title not in first:
        return f"{title}: {first}"
    return first


def _of_text(text: str) -> str:
    """Return a text as it is, or what a page shows first."""
    if not _MARKUP.match(text):
        return text
    shown = [
        _stripped(found[1])
        for form in (_TITLE, _HEADING)
        if (found := form.search(text)) is not None
    ]
    told = ": ".join(dict.fromkeys(one for one in shown if one))
    return told or _stripped(_UNSEEN.sub(" ", text))


def _stripped(text: str) -> str:
    return " ".join(html.unescape(_TAG.sub(" ", text)).split())


def _plain(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False) if value else ""


def _place(item: dict[str, Any]) -> str:
    """Return the field that an error of FastAPI's is about."""
    place = item.get("loc")
    return ".".join(map(str, place)) if isinstance(place, list) else ""


def _objects(data: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """Yield the objects that may hold codes, the outermost first."""
    if isinstance(data, list):
        for item in data[:_MOST_SAID]:
            yield from _objects(item, depth + 1)
    if isinstance(data, dict) and depth <= _DEEPEST:
        yield data
        for name in (*_INNER, "errors"):
            yield from _objects(data.get(name), depth + 1)


def _codes(data: Any) -> tuple[set[str], list[int]]:
    codes: set[str] = set()
    numbers: list[int] = []
    for one in _objects(data):
        for name in _CODE_FIELDS:
            given = one.get(name)
            if type(given) is int:
                numbers.append(given)
                codes.add(str(given))
            elif isinstance(given, str) and given:
                codes.add(given)
                if given.isdecimal():
                    numbers.append(int(given))
        if one.get("flagged_input") is not None:  # OpenRouter's account of a refusal
            codes.add("flagged_input")
    if _is_refusal(data):
        codes.add(REFUSAL)
    return codes, numbers


def _is_refusal(data: Any) -> bool:
    """Return whether a whole answer came with the error, and is a refusal."""
    if not isinstance(data, dict):
        return False
    choices = data.get("choices")
    ends = choices if isinstance(choices, list) else [data.get("incomplete_details")]
    words = (end.get("finish_reason", end.get("reason")) for end in ends if isinstance(end, dict))
    return any(one is not None and one.meaning is Meaning.REFUSED for one in map(reason_of, words))


def _wait(data: Any) -> float | None:
    """Return the seconds that Google's account of an error asks to wait: "34.5s"."""
    for one in _objects(data):
        details = one.get("details")
        for detail in details if isinstance(details, list) else ():
            said = detail.get("retryDelay") if isinstance(detail, dict) else None
            if isinstance(said, str) and (found := _SECONDS.fullmatch(said)) is not None:
                return float(found[1])
    return None


def _param(data: Any) -> str | None:
    for one in _objects(data):
        if isinstance(param := one.get("param"), str) and param:
            return param
        if place := _place(one):
            return place.removeprefix("body.")
    return None
