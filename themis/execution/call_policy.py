"""How often a call is tried, how long one try may take, and how long it waits for the next.

The loop itself is part of the stage step: the waiting must hold no slot, and the history belongs
to the artifact. What is here is the arithmetic.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from themis.core.config import RuntimeConfig
from themis.core.errors import ProviderError
from themis.core.events import Stage

_LONGEST = 120.0


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """How a stage's calls are made.

    Attributes:
        attempts: tries in all.
        timeout: seconds for one try; None for no limit.
        delay: seconds before the second try.
        backoff: factor from one delay to the next.
    """

    attempts: int = 1
    timeout: float | None = None
    delay: float = 0.0
    backoff: float = 1.0

    def wait(self, tried: int, error: BaseException) -> float:
        """Return the seconds to wait after the ``tried``-th try failed with ``error``.

        Exponential with jitter of up to half the first delay, two minutes at most, and never less
        than the endpoint asked for.
        """
        try:
            seconds = min(self.delay * self.backoff ** (tried - 1), _LONGEST)
        except OverflowError:
            seconds = _LONGEST
        seconds += random.uniform(0.0, self.delay / 2)
        asked = error.retry_after if isinstance(error, ProviderError) else None
        return seconds if asked is None else max(seconds, asked)


def policies(runtime: RuntimeConfig) -> dict[Stage, CallPolicy]:
    """Return the policy of each stage whose calls wait for something outside."""
    generation = CallPolicy(
        runtime.generation_retry_attempts,
        runtime.generation_timeout,
        runtime.generation_retry_delay,
        runtime.generation_retry_backoff,
    )
    judge = CallPolicy(
        runtime.judge_retry_attempts,
        runtime.judge_timeout,
        runtime.judge_retry_delay,
        runtime.judge_retry_backoff,
    )
    return {Stage.GENERATE: generation, Stage.JUDGE: judge}
