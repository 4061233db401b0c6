"""Whether a component can go to a worker process, told before anything runs.

A class of the script itself, or of a notebook, can be pickled here and is not found there, since
worker processes do not run the user's script again: it is refused too.
"""

from __future__ import annotations

import inspect
import io
import pickle
from collections.abc import Callable
from typing import Any

from themis.core.errors import DefinitionError


def check_sendable(component: object, method: Callable[..., Any], where: str) -> None:
    """Check that a component that declares ``cpu_bound`` can run in a worker process.

    Args:
        component: the component.
        method: the method of it that is called there.
        where: the field it stands in, for messages.

    Raises:
        DefinitionError: it cannot; the message names it and the way out.
    """
    name = type(component).__name__
    if inspect.iscoroutinefunction(method):
        _refuse(
            where,
            f"{name} declares cpu_bound, but {method.__name__}() is async, and a worker process "
            "has no event loop; make it a plain method, or leave out cpu_bound",
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


def _refuse(where: str, said: str) -> None:
    raise DefinitionError(f"{where}: {said}", field=where) from None


class _MainError(Exception):
    """A pickle names something of the script that runs."""


class _Finder(pickle.Unpickler):
    """Loads a pickle as a worker process will, without what only this process has."""

    def find_class(self, module: str, name: str) -> Any:
        """Find a class or function by its name."""
        if module in ("__main__", "__mp_main__"):
            raise _MainError(f"'{name}'")
        return super().find_class(module, name)
