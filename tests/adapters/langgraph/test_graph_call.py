"""How graphs are called: their own config, their context, their memory, and what identity covers.

Covers: themis.adapters.langgraph.graph_call, themis.adapters.langgraph.graph_generator
"""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any, TypedDict

import pydantic
import pytest
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.runtime import Runtime
from langgraph.store.memory import InMemoryStore

from tests.adapters.langgraph.conftest import CASE, TEXT, Context, Sums, two_nodes
from themis.adapters import langgraph
from themis.core.errors import ComponentError, DefinitionError

Node = Any


def one_node(node: Node, schema: Any = None, **options: Any) -> Any:
    builder = StateGraph(Sums, context_schema=schema)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    return builder.compile(**options)


async def answered(graph: Any, context: Context, case: Any = CASE, /, **options: Any) -> Any:
    made = langgraph(graph, graph_id="g", **{"output_key": "answer", **options})
    return (await made.generate(case, context())).final_output


# ------------------------------------------------------------------ config


def told(state: Sums, config: RunnableConfig) -> Sums:
    """A node that answers with the config that it runs under."""
    mine = {key: value for key, value in config["configurable"].items() if key == "unit"}
    team = config["metadata"].get("team")
    return {"answer": f"{sorted(config['tags'])} {mine} {team} {config['recursion_limit']}"}


OWN: dict[str, Any] = {
    "tags": ["sums"], "recursion_limit": 33, "configurable": {"unit": "m"},
    "metadata": {"team": "a"},
}  # fmt: skip
UNDER_ITS_OWN = "['sums'] {'unit': 'm'} a 33"


@pytest.mark.parametrize("saver", [None, InMemorySaver()])
async def test_a_graphs_own_config_holds(context: Context, saver: Any) -> None:
    graph = one_node(told, checkpointer=saver).with_config(OWN)
    alone = (await graph.ainvoke({}, {"configurable": {"thread_id": "1"}}))["answer"]
    assert await answered(graph, context) == alone == UNDER_ITS_OWN


async def test_a_config_that_is_given_is_the_config_of_its_call(context: Context) -> None:
    graph = one_node(told, checkpointer=InMemorySaver())
    assert await answered(graph, context, config=OWN) == UNDER_ITS_OWN
    more = {"recursion_limit": 44, "configurable": {"unit": "km"}}
    said = await answered(graph.with_config(OWN), context, config=more)
    assert said == "['sums'] {'unit': 'km'} a 44"


async def test_a_configs_own_callbacks_are_called_and_are_no_identity(context: Context) -> None:
    from langchain_core.callbacks import AsyncCallbackManager, BaseCallbackHandler

    seen: list[str] = []

    class Own(BaseCallbackHandler):
        def on_chain_start(self, serialized: Any, inputs: Any, **more: Any) -> None:
            seen.append(more["name"])

    graph = one_node(lambda state: {"answer": "4"})
    for callbacks in ([Own()], AsyncCallbackManager([Own()], [Own()])):
        seen.clear()
        made = langgraph(graph, graph_id="g", config={"callbacks": callbacks})
        result = await made.generate(CASE, context())
        assert seen == ["LangGraph", "node"]
        assert [step.step_name for step in result.trace or []] == ["node"]
        assert made.fingerprint() == langgraph(graph, graph_id="g").fingerprint()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"recursion_limt": 3}, "did you mean 'recursion_limit'"),
        ({"unit": "m"}, "under 'configurable'"),
        ([], "give a RunnableConfig"),
        ({"configurable": {"thread_id": "1"}}, "a thread of its own"),
    ],
)
def test_a_config_that_is_none_is_refused(config: Any, said: str) -> None:
    graph = one_node(told, checkpointer=InMemorySaver())
    with pytest.raises(DefinitionError, match=said):
        langgraph(graph, graph_id="g", config=config)


def test_only_refusing_is_known_for_interrupts() -> None:
    with pytest.raises(DefinitionError, match="'refuse' only"):
        langgraph(one_node(told), graph_id="g", interrupts="ask")  # type: ignore[arg-type]


# ------------------------------------------------------------------ context


@dataclasses.dataclass
class Bonus:
    bonus: int
    unit: str = "m"


class Checked(pydantic.BaseModel):
    bonus: int


class Named(TypedDict):
    bonus: int


def with_bonus(state: Sums, runtime: Runtime[Any]) -> Sums:
    context = runtime.context
    bonus = context["bonus"] if isinstance(context, dict) else context.bonus
    return {"answer": str(3 + bonus)}


@pytest.mark.parametrize(
    ("schema", "given"),
    [
        (Bonus, Bonus(1)), (Bonus, {"bonus": 1}), (Checked, Checked(bonus=1)),
        (Checked, {"bonus": 1}), (Named, {"bonus": 1}),
    ],
)  # fmt: skip
async def test_nodes_find_the_context(context: Context, schema: Any, given: Any) -> None:
    for graph in (
        one_node(with_bonus, schema),
        one_node(with_bonus, schema) | RunnableLambda(lambda state: state),
    ):
        assert await answered(graph, context, context=given) == "4"


@pytest.mark.parametrize("schema", [Bonus, Checked])
def test_a_context_that_is_wanted_is_asked_for_before_anything_runs(schema: Any) -> None:
    with pytest.raises(DefinitionError) as caught:
        langgraph(one_node(with_bonus, schema), graph_id="sums")
    assert str(caught.value) == (
        f"graph 'sums' wants a context ({schema.__name__}) and is given none: "
        f"langgraph(..., context={{'bonus': ...}}), or an object of {schema.__name__}"
    )


async def test_a_node_that_meets_no_context_says_how_to_give_one(context: Context) -> None:
    with pytest.raises(ComponentError, match=r"wants a context \(Named\).*context=\{'bonus'"):
        await answered(one_node(with_bonus, Named), context)


async def test_a_node_that_does_without_a_context_runs(context: Context) -> None:
    def node(state: Sums, runtime: Runtime[Any]) -> Sums:
        return {"answer": str((runtime.context or {}).get("bonus", 4))}

    assert await answered(one_node(node, Named), context) == "4"


# ------------------------------------------------------------------ identity


def _fingerprint(**options: Any) -> str:
    return langgraph(two_nodes(told, told), graph_id="g", **options).fingerprint()


def test_config_and_context_are_part_of_identity() -> None:
    made = [
        _fingerprint(),
        _fingerprint(config={"recursion_limit": 3}),
        _fingerprint(config={"recursion_limit": 4}),
        _fingerprint(config={"tags": ["a"]}),
        _fingerprint(context={"bonus": 1}),
        _fingerprint(context=Bonus(1)),
        _fingerprint(context=Bonus(1, "km")),
        _fingerprint(context=Checked(bonus=1)),
        _fingerprint(context=[Bonus(1), 2]),
    ]
    assert len(set(made)) == len(made)
    assert _fingerprint(context=Bonus(1)) == _fingerprint(context=Bonus(1))
    assert _fingerprint(config={}) == _fingerprint()


@pytest.mark.parametrize(
    "options",
    [
        {"context": object()}, {"context": {"client": object()}},
        {"config": {"configurable": {"model": object()}}},
    ],
)  # fmt: skip
def test_what_is_no_value_needs_a_name(options: Any) -> None:
    with pytest.raises(DefinitionError, match=r"is a object.*graph_version='...'.*fingerprint="):
        _fingerprint(**options)
    named = [
        _fingerprint(**options, graph_version="1"),
        _fingerprint(**options, fingerprint="1"),
        _fingerprint(**options, fingerprint="2"),
    ]
    assert len(set(named)) == 3


# ------------------------------------------------------------------ memory


class WithoutAsync(BaseCheckpointSaver[str]):
    """A saver whose class has the sync methods only."""

    def __init__(self) -> None:
        super().__init__()
        self._kept = InMemorySaver()

    def get_tuple(self, *args: Any, **more: Any) -> Any:
        return self._kept.get_tuple(*args, **more)

    def put(self, *args: Any, **more: Any) -> Any:
        return self._kept.put(*args, **more)

    def put_writes(self, *args: Any, **more: Any) -> Any:
        return self._kept.put_writes(*args, **more)


class ReadsOnly(InMemorySaver):
    """A saver of which some async methods say that they are none."""

    async def aput(self, *args: Any, **more: Any) -> Any:
        raise NotImplementedError

    aget_tuple = aput


@pytest.mark.parametrize("saver", [WithoutAsync, ReadsOnly])
@pytest.mark.parametrize("where", ["alone", "in a chain", "bound", "after a function"])
async def test_a_saver_without_async_methods_is_one_execution_in_a_thread(
    context: Context, saver: Any, where: str
) -> None:
    runs: list[str] = []

    def node(state: Sums) -> Sums:
        runs.append("node")
        return {"answer": f"{len(state)}"}

    def before(given: Any) -> Any:
        runs.append("before")
        return given

    plain = one_node(node, checkpointer=saver())
    graph = {
        "alone": plain,
        "in a chain": plain | RunnableLambda(lambda state: state),
        "bound": plain.with_retry(),
        "after a function": RunnableLambda(before) | plain,
    }[where]
    made = langgraph(graph, graph_id="g", output_key="answer")
    for _ in range(2):  # each sample in a thread of its own
        runs.clear()
        result = await made.generate(CASE, context())
        assert result.final_output == "1"
        assert runs[-1:] == ["node"]
        assert len(runs) == (2 if where == "after a function" else 1)
        assert "node" in [step.step_name for step in result.trace or []]
        assert "thread_id" in (result.artifacts or {})


async def test_a_graph_finds_its_store(context: Context) -> None:
    store = InMemoryStore()
    store.put(("sums",), "2+2", {"sum": "4"})

    def node(state: Sums, runtime: Runtime[Any]) -> Sums:
        assert runtime.store is not None
        found = runtime.store.get(("sums",), "2+2")
        assert found is not None
        return {"answer": found.value["sum"]}

    assert await answered(one_node(node, store=store), context) == "4"


# ------------------------------------------------------------------ chains, and what they take


def echo(state: Any) -> Any:
    return {"messages": [("ai", f"{state['messages'][-1].content}!")]}


def _chat() -> Any:
    return StateGraph(MessagesState).add_node("echo", echo).add_edge(START, "echo").compile()


def _last(state: Any) -> str:
    return str(state["messages"][-1].content)


async def test_a_chain_that_begins_with_a_graph_of_messages_is_given_messages(
    context: Context,
) -> None:
    for graph in (
        _chat() | RunnableLambda(_last),
        _chat().with_config(tags=["a"]) | RunnableLambda(_last),
        _chat().with_retry() | RunnableLambda(_last),
        RunnableLambda(lambda text: {"messages": text}) | _chat() | RunnableLambda(_last),
    ):
        assert await answered(graph, context, TEXT, output_key=None) == "What is 2+2?!"


async def test_an_input_of_other_fields_than_the_state_is_told_by_its_own(
    context: Context,
) -> None:
    class Asked(TypedDict):
        question: str

    class Whole(MessagesState):
        question: str

    builder = StateGraph(Whole, input_schema=Asked)
    builder.add_node("echo", lambda state: {"messages": [("ai", state["question"])]})
    builder.add_edge(START, "echo")
    graph = builder.compile()
    with pytest.raises(ComponentError, match=r"a state of fields \(question\)"):
        await answered(graph, context, TEXT)
    result = await langgraph(graph, graph_id="g").generate(CASE, context())
    assert [one.content for one in result.conversation or []] == ["2+2"]


async def test_a_stand_in_is_given_config_and_context(context: Context) -> None:
    given: list[Any] = []

    async def ainvoke(payload: Any, **more: Any) -> Any:
        given.append(more)
        return {"answer": "4"}

    options = {"config": {"tags": ["a"]}, "context": {"bonus": 1}}
    assert await answered(SimpleNamespace(ainvoke=ainvoke), context, **options) == "4"
    assert given == [options]
