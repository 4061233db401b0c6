"""Durations as people write them: a whole number and one unit, as in ``24h``. None is guessed."""

from __future__ import annotations

import re

from themis.core.errors import DefinitionError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_FORM = re.compile(r"([0-9]{1,9})([smhd])")


def seconds_in(duration: str, field: str) -> int:
    """Return the seconds of a duration: a whole number above 0 and s, m, h or d.

    Args:
        duration: as in "90s", "45m", "24h" or "7d".
        field: what it is the value of, for the message.

    Raises:
        DefinitionError: it is written in any other way.
    """
    found = _FORM.fullmatch(duration)
    seconds = 0 if found is None else int(found[1]) * _UNITS[found[2]]
    if not seconds:
        raise DefinitionError(
            f"{field} = {duration!r}: a duration is a whole number above 0 and one unit, "
            "s, m, h or d, as in '24h'",
            field=field,
            value=duration,
        )
    return seconds
