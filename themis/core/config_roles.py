"""How a config file gives a component's parameter that is more than a plain value.

A component declares this in the parameter's annotation, which the config reader looks up::

    def echo(model: str, *, api_key: Annotated[str | None, SECRET] = None) -> Echo: ...

The values of such parameters are never recorded with a run: the component's own fingerprint must
cover those that change an answer.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, kw_only=True)
class ConfigRole:
    """How a config file gives a parameter."""

    is_object: bool = False
    """Whether the parameter is an object, which a config names by import path,
    "pkg.module:name"."""
    reads_references: bool = False
    """Whether the component reads ``env:NAME`` as the value of that environment variable. A text
    that is written out in its place is refused; of a mapping, what looks like a secret by its key
    or its form."""
    knows_its_secrets: bool = False
    """Whether the component itself refuses secrets that are written out. The config reader then
    does not, since keys that belong to another API do not show which values are secret."""
    files: tuple[str, ...] = ()
    """Keys in the parameter that hold a file's path, relative to the config's folder."""

    def __repr__(self) -> str:
        declared = [f"{name}={value!r}" for name, value in asdict(self).items() if value]
        return f"ConfigRole({', '.join(declared)})"


OBJECT = ConfigRole(is_object=True)
SECRET = ConfigRole(reads_references=True)
"""A key or password, or a mapping that may hold some."""
