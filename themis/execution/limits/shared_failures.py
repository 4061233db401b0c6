"""Whether a failure is every case's: what one answer of an endpoint suspects, several bear out.

A firewall answers one prompt 403, a router one request 404: that must not end a run. A wrong key
is met by every case, and must not be met by all of them. So a failure that its endpoint's answer
makes suspicious (``ProviderError.confirm``) counts as one of all cases when several different ones
met it, none was answered, and no call is under way that could still be answered. While nothing was
answered and there is such a suspicion, no further call to that component begins.

Counted by component, not by endpoint: a judge's unknown model says nothing about the generator's.
"""

from __future__ import annotations

import asyncio

from themis.core.errors import ProviderError

SEVERAL = 3
"""Cases that must have met a failure; of a run with fewer, all."""


class SharedFailures:
    """What the calls of one run came to, as far as it says something about all the others.

    Args:
        n_cases: the cases of the run.
    """

    def __init__(self, n_cases: int) -> None:
        self._enough = max(1, min(SEVERAL, n_cases))
        self._components: dict[int, _Component] = {}
        self._is_closed = False

    def answered_before(self, component: object) -> None:
        """Take note that a component was answered in another attempt, or another run."""
        self._of(component).was_answered = True

    async def enter(self, component: object) -> None:
        """Take note of a call, which begins when no suspicion holds it up any more."""
        found = self._of(component)
        while found.is_doubted and not self._is_closed:
            await found.settled()
        found.under_way += 1

    def leave(self, component: object, *, answered: bool) -> None:
        """Take note that a call is over, with an answer of whatever kind or without."""
        found = self._of(component)
        found.under_way -= 1
        if answered:
            found.was_answered = True
            found.met.clear()
        if not found.is_doubted:
            found.let_go()

    def weigh(self, component: object, case_index: int, error: ProviderError) -> None:
        """Let a failed call's error be fatal only if it is borne out; asked before ``leave``."""
        if not error.fatal or error.confirm is None:
            return
        found = self._of(component)
        found.met.add(case_index)
        error.fatal = len(found.met) >= self._enough and (
            error.confirm == "in_a_row" if found.was_answered else found.under_way <= 1
        )

    def close(self) -> None:
        """Hold no call up any more: the run is stopping, and none is to begin."""
        self._is_closed = True
        for found in self._components.values():
            found.let_go()

    def _of(self, component: object) -> _Component:
        found = self._components.get(id(component))
        if found is None:
            found = self._components[id(component)] = _Component()
        return found


class _Component:
    """What is known of one component."""

    __slots__ = ("_waiting", "met", "under_way", "was_answered")

    def __init__(self) -> None:
        self.was_answered = False
        self.met: set[int] = set()
        """Cases that met such a failure since the last answer."""
        self.under_way = 0
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def is_doubted(self) -> bool:
        """Whether there is a suspicion that a call under way may still refute."""
        return bool(self.met) and not self.was_answered and self.under_way > 0

    async def settled(self) -> None:
        """Wait until it may be otherwise."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn

    def let_go(self) -> None:
        """Wake all who wait."""
        waiting, self._waiting = self._waiting, []
        for turn in waiting:
            if not turn.done():
                turn.set_result(None)
