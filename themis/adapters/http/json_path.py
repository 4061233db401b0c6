"""Where in a JSON answer something stands: ``choices[0].message.content``.

A path is a row of steps. A plain key stands as it is, after a dot where it is not the first; a key
with other characters is quoted in brackets, ``["the answer"]``; ``[0]`` is an item of a list and
``[-1]`` its last. A dot alone is the whole answer. There are no wildcards and no searching: a path
leads to one place or nowhere.
"""

from __future__ import annotations

import json
import re
from typing import Any

from themis.core.base import JSONValue
from themis.core.errors import DefinitionError

Step = str | int
_KEY = r"[^\W\d][\w-]*"
_STEP = re.compile(
    rf'(?P<dot>\.)?(?P<key>{_KEY})|\[(?P<index>-?\d+)\]|\[(?P<quoted>"(?:[^"\\]|\\.)*")\]'
    r"|\['(?P<single>[^'\\]*)'\]"
)
_PLAIN = re.compile(_KEY)
_MOST_NAMED = 12


class JsonPath:
    """One path, read from its text.

    Args:
        text: such as "data.reply".
        where: the argument it was given as, for messages.

    Raises:
        DefinitionError: the text is no path.
    """

    def __init__(self, text: str, where: str) -> None:
        self.text = text
        self.steps = _steps(text, where)

    def find(self, data: JSONValue) -> tuple[bool, Any]:
        """Return whether the place is there, and what stands in it."""
        for step in self.steps:
            if isinstance(step, str):
                if not isinstance(data, dict) or step not in data:
                    return False, None
                data = data[step]
            elif isinstance(data, list) and -len(data) <= step < len(data):
                data = data[step]
            else:
                return False, None
        return True, data

    def missing(self, data: JSONValue) -> str:
        """Return how far the path leads in the data, and what is there instead, for a message."""
        taken: list[Step] = []
        for step in self.steps:
            inner = JsonPath.of([step]).find(data)
            if not inner[0]:
                break
            taken.append(step)
            data = inner[1]
        place = f"'{spell(taken)}'" if taken else "the answer"
        if isinstance(data, dict):
            keys = [str(key)[:40] for key in data][:_MOST_NAMED]
            more = ", ..." if len(data) > _MOST_NAMED else ""
            return f"{place} has {', '.join(keys) + more if keys else 'no keys'}"
        if isinstance(data, list):
            return f"{place} is a list of {len(data)}"
        return f"{place} is {_named(data)}"

    @classmethod
    def of(cls, steps: list[Step]) -> JsonPath:
        """Return the path of these steps."""
        return cls(spell(steps), "path")


def spell(steps: list[Step]) -> str:
    """Return steps as the text of a path."""
    said = ""
    for step in steps:
        if isinstance(step, int):
            said += f"[{step}]"
        elif _PLAIN.fullmatch(step):
            said += f".{step}" if said else step
        else:
            said += f"[{json.dumps(step)}]"
    return said or "."


def _steps(text: object, where: str) -> list[Step]:
    if text == ".":
        return []
    if not isinstance(text, str) or not text:
        raise _refusal(text, where)
    steps: list[Step] = []
    at = 0
    while at < len(text):
        found = _STEP.match(text, at)
        # A dot stands between two steps, never before the first.
        if found is None or (found["key"] and bool(found["dot"]) != bool(steps)):
            raise _refusal(text, where)
        if found["key"]:
            steps.append(found["key"])
        elif found["index"]:
            steps.append(int(found["index"]))
        elif found["quoted"]:
            try:
                steps.append(json.loads(found["quoted"]))
            except ValueError:
                raise _refusal(text, where) from None
        else:
            steps.append(found["single"])
        at = found.end()
    return steps


def _named(value: object) -> str:
    known = {str: "text", bool: "true or false", type(None): "null"}
    return known.get(type(value), "a number")


def _refusal(text: object, where: str) -> DefinitionError:
    return DefinitionError(
        f"{where} = {text!r} is no path: write one such as 'choices[0].message.content', with "
        "other keys in quotes: 'data[\"the answer\"]'",
        field=where,
        value=text,
    )
