"""Whether a component can go to a worker process, told before anything runs.

What can be pickled here and not be found there (a class of the script itself, or of a notebook) is
refused too: worker processes do not run the user's script again.
"""

from __future__ import annotations

import inspect
import io
import math
import pickle
from collections.abc import Sequence
from typing import Any

from themis.core.errors import DefinitionError


def check_cpu_bound(component: Any, role: str, where: str) -> bool:
    """Return whether a component is to run in worker processes.

    Raises:
        DefinitionError: it says so and cannot; the message names it and the way out.
    """
    name = type(component).__name__
    declared = getattr(component, "cpu_bound", False)
    if not isinstance(declared, bool):
        _refuse(where, f"{name}.cpu_bound is {declared!r}; it must be True or False")
    if not declared or role not in ("parser", "metric"):
        return False
    seconds = getattr(component, "cpu_timeout", None)
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if seconds is not None and not (is_number and math.isfinite(seconds) and seconds > 0):
        _refuse(where, f"{name}.cpu_timeout is {seconds!r}; it must be seconds above 0, or None")
    for method in _methods(component, role):
        if inspect.iscoroutinefunction(getattr(component, method, None)):
            _refuse(
                where,
                f"{name} declares cpu_bound, but {method}() is async, and a worker process has no "
                "event loop; make it a plain method, or leave out cpu_bound",
            )
    try:
        pickled = pickle.dumps(component)
        _Finder(io.BytesIO(pickled)).load()
    except _MainError as error:
        _refuse(
            where,
            f"{name} declares cpu_bound, but {error} is defined in the script or notebook that "
            "runs, where worker processes do not find it; move it to a module of its own and "
            "import it, or leave out cpu_bound",
        )
    except Exception as error:  # noqa: BLE001 - user code's own pickling may fail in any way
        said = str(error).strip().split("\n", 1)[0]
        _refuse(
            where,
            f"{name} declares cpu_bound and cannot be pickled for a worker process "
            f"({type(error).__name__}: {said}); keep locks, open files and lambdas out of its "
            "attributes, or leave out cpu_bound",
        )
    return True


def _methods(component: Any, role: str) -> Sequence[str]:
    if role == "parser":
        return ("parse",)
    known = ("build_workflow", "score_set", "score")
    return (next(method for method in known if hasattr(component, method)),)


def _refuse(where: str, said: str) -> None:
    raise DefinitionError(f"{where}: {said}", field=where) from None


class _MainError(Exception):
    """A pickle names something of the script that runs."""


class _Finder(pickle.Unpickler):
    """Loads a pickle, as a worker process will, but for what only this process has."""

    def find_class(self, module: str, name: str) -> Any:
        """Find a class or function by its name."""
        if module in ("__main__", "__mp_main__"):
            raise _MainError(f"'{name}'")
        return super().find_class(module, name)
