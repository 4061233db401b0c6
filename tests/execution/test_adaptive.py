"""Concurrency that adapts: what the numbers do, with an endpoint that refuses above a capacity."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from themis.execution.adaptive import FIRST, AdaptiveConcurrency


def rounds(adaptive: AdaptiveConcurrency, capacity: int, n: int) -> tuple[list[int], int]:
    """Let rounds of calls go by, as many at once as allowed; return the limits and the refusals."""
    limits, refusals = [], 0
    for _ in range(n):
        at_once, epoch = adaptive.limit, adaptive.epoch
        limits.append(at_once)
        for number in range(1, at_once + 1):
            adaptive.began(number)
        for number in range(1, at_once + 1):
            if number > capacity:
                refusals += 1
                adaptive.refused(epoch)
            else:
                adaptive.answered(epoch)
    return limits, refusals


def test_it_begins_low_and_doubles_while_the_endpoint_keeps_up() -> None:
    limits, _ = rounds(AdaptiveConcurrency(100), 1000, 6)
    assert limits == [8, 16, 32, 64, 100, 100]


def test_a_cap_below_the_first_step_is_kept() -> None:
    assert rounds(AdaptiveConcurrency(3), 1000, 3)[0] == [3, 3, 3]


def test_it_does_not_grow_where_the_limit_was_never_reached() -> None:
    adaptive = AdaptiveConcurrency(64)
    for _ in range(1000):
        adaptive.began(1)
        adaptive.answered(adaptive.epoch)
    assert adaptive.limit == FIRST


@given(capacity=st.integers(1, 300), cap=st.integers(1, 400))
def test_it_settles_at_the_capacity_and_is_seldom_refused_there(capacity: int, cap: int) -> None:
    adaptive = AdaptiveConcurrency(cap)
    rounds(adaptive, capacity, 40)
    limits, refusals = rounds(adaptive, capacity, 200)
    most = min(capacity, cap)
    assert max(limits) <= most + 1
    # One probe in 32 clean rounds at most, each refused once; and never far below.
    assert refusals <= 7
    assert sorted(limits)[len(limits) // 2] == most


@given(before=st.integers(2, 64), after=st.integers(1, 64))
def test_it_follows_a_capacity_that_changes(before: int, after: int) -> None:
    adaptive = AdaptiveConcurrency(64)
    rounds(adaptive, before, 60)
    rounds(adaptive, after, 600)
    limits, _ = rounds(adaptive, after, 100)
    assert sorted(limits)[50] >= min(before, after) // 2
    assert max(limits) <= after + 1


def test_calls_refused_together_lower_the_limit_once() -> None:
    adaptive = AdaptiveConcurrency(64)
    rounds(adaptive, 1000, 1)
    assert adaptive.limit == 16
    epoch = adaptive.epoch
    for _ in range(16):
        adaptive.refused(epoch)
    assert adaptive.limit == 12
