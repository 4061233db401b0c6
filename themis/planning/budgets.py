"""Whether a budget can be kept: each call must say beforehand what it may use at most."""

from __future__ import annotations

from themis.core.config import RuntimeConfig
from themis.core.errors import DefinitionError
from themis.planning.prices import find_price
from themis.planning.work import Bound, CompiledRun


def check_budget(run: CompiledRun, runtime: RuntimeConfig) -> None:
    """Refuse a budget of tokens or dollars that the run's calls could exceed unseen.

    Raises:
        DefinitionError: a call has no output cap, no bound of its prompt or, under a budget of
            dollars, no known price.
    """
    budget = runtime.budget or {}
    name = next((name for name in ("dollars", "tokens") if name in budget), None)
    if name is None:
        return
    for bound in (run.generator, *run.judges.values()):
        _check_bounds(bound, name)
        if "dollars" in budget and find_price(bound.component, runtime.prices) is None:
            model = getattr(bound.component, "model", None) or bound.ref.component_id
            raise DefinitionError(
                f"budget.dollars = {budget['dollars']:g}: the price of {bound.ref.role} "
                f"'{bound.name}' is unknown; give it under runtime, prices={{{model!r}: "
                '{"input": ..., "output": ...}}, in dollars for a million tokens',
                field="budget.dollars",
                value=budget["dollars"],
            )


def _check_bounds(bound: Bound, name: str) -> None:
    component = bound.component
    who = f"budget.{name}: {bound.ref.role} '{bound.name}'"
    cap = getattr(component, "max_output_tokens", None)
    if type(cap) is not int or cap < 1:
        raise DefinitionError(
            f"{who} has no cap on its output tokens, so a call could exceed any budget: give an "
            'endpoint sampling={"max_output_tokens": ...}, a component of your own the attribute '
            "max_output_tokens",
            field=f"budget.{name}",
        )
    if not callable(getattr(component, "bound_tokens", None)):
        argument = "prompt" if bound.ref.role == "judge" else "case, ctx"
        raise DefinitionError(
            f"{who} does not say how many tokens a prompt has at most: give it a method "
            f"bound_tokens({argument})",
            field=f"budget.{name}",
        )
