"""How a graph is called: its own config and context, and what a fingerprint covers of them.

The graph is called as its owner would call it. What Themis adds is a handler that watches and, for
a graph with a memory, a thread for each execution. A graph may stand within other runnables
(``prompt | graph | function``, ``graph.with_retry()``): what it takes and remembers is found there.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from themis.core.base import JSONObject, JSONValue
from themis.core.errors import DefinitionError, did_you_mean
from themis.core.hashing import check_json

_CONFIG = (
    "callbacks", "configurable", "max_concurrency", "metadata", "recursion_limit", "run_name",
    "tags",
)  # fmt: skip
_ASYNC = ("aget_tuple", "aput", "aput_writes")
_CLASSES = "langchain_core.runnables.base"
_DEEPEST = 16


def is_runnable(graph: Any) -> bool:
    """Return whether something is executed by LangChain: a compiled graph, a chain of runnables."""
    return any(
        (one.__name__, one.__module__) == ("Runnable", _CLASSES) for one in type(graph).__mro__
    )


def entry_of(graph: Any) -> Any:
    """Return the graph that takes what is given: itself, or the first of those within it."""
    for _ in range(_DEEPEST):
        inner = getattr(graph, "bound", None) or getattr(graph, "first", None)
        if hasattr(graph, "channels") or inner is None or not is_runnable(graph):
            break
        graph = inner
    return graph


def fields_of(graph: Any) -> tuple[str, ...]:
    """Return the fields that a StateGraph's input has; none where it has none, or is none."""
    entry = entry_of(graph)
    channels = [str(name) for name in getattr(entry, "channels", None) or ()]
    if "__start__" not in channels:  # not made by a StateGraph: who knows what it takes
        return ()
    builder = getattr(entry, "builder", None)
    schema = getattr(builder, "input_schema", None)
    taken = (getattr(builder, "schemas", None) or {}).get(schema, channels)
    return tuple(name for name in map(str, taken) if not name.startswith(("__", "branch:")))


def takes_messages(graph: Any) -> bool:
    """Return whether the input of a graph has ``messages``."""
    fields = fields_of(graph)
    if fields:
        return "messages" in fields
    return "messages" in (getattr(entry_of(graph), "channels", None) or ())


class GraphCall:
    """Calls a graph, with what its owner gives besides the input.

    Args:
        graph: the graph.
        graph_id: its name, for messages.
        config: a ``RunnableConfig``.
        context: what nodes find in ``runtime.context``.

    Raises:
        DefinitionError: the config is none, or a context is wanted and not given.
    """

    def __init__(self, graph: Any, graph_id: str, config: Any, context: Any) -> None:
        self.graph = graph
        self.config = _checked(config)
        self.context = context
        self.is_runnable = is_runnable(graph)
        self.graph_id = graph_id
        self._parts = list(_parts(graph))
        self._is_sync: bool | None = None
        self.savers = [
            saver
            for part in self._parts
            if (saver := getattr(part, "checkpointer", None)) and saver is not True
        ]
        if self.savers and "thread_id" in self._configurable(self.config):
            raise DefinitionError(
                "config names a thread_id, and each sample has a thread of its own: leave it out",
                field="config",
            )
        self._schema = getattr(entry_of(graph), "context_schema", None)
        if self.lacks_context() and (fields := _required(self._schema)):
            raise DefinitionError(self.wants_context(fields), field="context")

    def lacks_context(self) -> bool:
        """Return whether the graph declares a context, and neither that nor values are given."""
        own = getattr(self.graph, "config", None)
        configured = self._configurable(self.config) or self._configurable(own)
        return self._schema is not None and self.context is None and not configured

    def wants_context(self, fields: tuple[str, ...] = ()) -> str:
        """Return that the graph wants a context, and how it is given."""
        name = getattr(self._schema, "__name__", "its context_schema")
        fields = fields or tuple(getattr(self._schema, "__annotations__", None) or ("...",))
        shown = ", ".join(f"'{one}': ..." for one in fields)
        return (
            f"graph '{self.graph_id}' wants a context ({name}) and is given none: "
            f"langgraph(..., context={{{shown}}}), or an object of {name}"
        )

    def arguments(self, handlers: tuple[Any, ...] = ()) -> tuple[dict[str, Any], str | None]:
        """Return the arguments of one execution beside its input, and its thread's id if any."""
        config = dict(self.config or {})
        thread_id = uuid.uuid4().hex if self.savers else None
        if thread_id is not None:
            own = self._configurable(getattr(self.graph, "config", None))
            mine = {"thread_id": thread_id}
            config["configurable"] = {**own, **self._configurable(config), **mine}
        if handlers:
            config["callbacks"] = _with_handlers(config.get("callbacks"), handlers)
        arguments: dict[str, Any] = {"config": config} if config else {}
        if self.context is not None:
            arguments["context"] = self.context
        return arguments, thread_id

    async def is_sync(self) -> bool:
        """Return whether the graph can only be called in a thread: a saver has no async methods."""
        if self._is_sync is None:
            can = callable(getattr(self.graph, "invoke", None))
            found = [await _is_sync_only(saver) for saver in self.savers] if can else []
            self._is_sync = any(found)
        return self._is_sync

    def fingerprinted(self, vouched: bool) -> JSONObject:
        """Return what a fingerprint covers: config and context, where they are given.

        Callbacks only watch, and are left out.

        Args:
            vouched: whether a version or a fingerprint of the user's stands for what is no value.

        Raises:
            DefinitionError: something is no value, and nothing stands for it.
        """
        config = {name: one for name, one in (self.config or {}).items() if name != "callbacks"}
        given = {"config": config or None, "context": self.context}
        return {
            name: _described(value, name, vouched)
            for name, value in given.items()
            if value is not None
        }

    @staticmethod
    def _configurable(config: Any) -> dict[str, Any]:
        known = config.get("configurable") if isinstance(config, Mapping) else None
        return dict(known or {})


def _checked(config: Any) -> dict[str, Any] | None:
    if config is None:
        return None
    if not isinstance(config, Mapping):
        raise DefinitionError(
            f"config is of type {type(config).__name__}: give a RunnableConfig, such as "
            "{'recursion_limit': 100}",
            field="config",
        )
    for name in config:
        if name not in _CONFIG:
            raise DefinitionError(
                f"config has no '{name}' (what nodes read stands under 'configurable')"
                f"{did_you_mean(str(name), _CONFIG)}",
                field="config",
            )
    return dict(config)


def _parts(graph: Any, depth: int = 0) -> Iterator[Any]:
    """Yield a graph and those within it: in a chain of runnables, as its nodes."""
    yield graph
    if depth > _DEEPEST or not is_runnable(graph):
        return
    inner = [getattr(graph, name, None) for name in ("bound", "runnable")]
    for steps in (getattr(graph, "steps", None), getattr(graph, "steps__", None)):
        inner += list(steps.values() if isinstance(steps, Mapping) else steps or ())
    if hasattr(graph, "channels") and callable(subgraphs := getattr(graph, "get_subgraphs", None)):
        inner += [one for _, one in subgraphs()]
    for one in inner:
        if one is not None and one is not graph:
            yield from _parts(one, depth + 1)


async def _is_sync_only(saver: Any) -> bool:
    """Return whether a saver lacks async methods, or has them and they say that it does not."""
    if not hasattr(saver, _ASYNC[0]):
        return False
    inherited = [getattr(getattr(type(saver), name, None), "__qualname__", "") for name in _ASYNC]
    if any(name.startswith("BaseCheckpointSaver.") for name in inherited):
        return True
    nowhere = {"configurable": {"thread_id": uuid.uuid4().hex, "checkpoint_ns": ""}}
    try:
        await saver.aget_tuple(nowhere)
    except NotImplementedError:
        return True
    except Exception:  # noqa: BLE001 - whatever it is, the execution will meet it and say so
        return False
    return False


def _with_handlers(callbacks: Any, handlers: tuple[Any, ...]) -> Any:
    if callbacks is None or isinstance(callbacks, (list, tuple)):
        return [*(callbacks or ()), *handlers]
    manager = callbacks.copy()
    for one in handlers:
        manager.add_handler(one, inherit=True)
    return manager


def _required(schema: Any) -> tuple[str, ...]:
    """Return the fields that an object of a schema cannot do without.

    A TypedDict names none: nodes that read one may well do so with a default for each.
    """
    if dataclasses.is_dataclass(schema):
        none = dataclasses.MISSING
        return tuple(
            one.name
            for one in dataclasses.fields(schema)
            if one.init and one.default is none and one.default_factory is none
        )
    fields = getattr(schema, "model_fields", None) or {}
    return tuple(name for name, one in fields.items() if one.is_required())


def _described(value: Any, where: str, vouched: bool) -> JSONValue:
    """Return a value as JSON that differs wherever it does."""
    if isinstance(value, (list, tuple)):
        return [_described(one, where, vouched) for one in value]
    if isinstance(value, Mapping) and all(type(key) is str for key in value):
        return {name: _described(one, f"{where}['{name}']", vouched) for name, one in value.items()}
    fields: Any = ()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [one.name for one in dataclasses.fields(value)]
    elif not isinstance(value, type):
        fields = getattr(type(value), "model_fields", None) or ()
    name = type(value).__qualname__
    if fields:
        told = {one: _described(getattr(value, one), f"{where}.{one}", vouched) for one in fields}
        return {"an object of": name, "fields": told}
    try:
        known: JSONValue = check_json(value, where)
    except DefinitionError:
        if vouched:
            return {"an object of": name}
        raise DefinitionError(
            f"{where} is a {name}, which is no JSON value: give graph_version='...', or "
            "fingerprint='...', a text that you change whenever it changes",
            field=where.partition("[")[0].partition(".")[0],
        ) from None
    return known
