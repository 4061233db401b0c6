"""From what the user wrote to bound components: resolved, checked, named, digested.

A component is declared first and bound then. What it declares may decide what else it is bound to
(the parser of a metric, the metric that a set metric folds), and its ``fingerprint()``, which may
be costly, is called once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from themis.catalog.registry import make
from themis.core.base import JSONObject
from themis.core.config import ComponentUse
from themis.core.errors import DefinitionError
from themis.core.hashing import check_json
from themis.core.snapshot import ALL_READS, ComponentRef, MetricFacts
from themis.planning.capabilities import Capabilities, Role, read_capabilities
from themis.planning.code.digest import code_digest
from themis.planning.compiled_run import BoundComponent
from themis.planning.keys import component_digest


class DeclaredComponent(NamedTuple):
    """A component that is made and whose declarations are read; it is not bound yet."""

    component: Any
    role: Role
    name: str
    """The name it goes by in tables."""
    params: JSONObject
    """What it was made with, where it was made from an id."""
    where: str
    """The field it stands in, for messages."""
    capabilities: Capabilities

    @property
    def facts(self) -> MetricFacts:
        """What a metric's numbers mean, as far as it declares it."""
        return self.capabilities.facts or MetricFacts()

    def bind(
        self,
        *,
        parser: str | None = None,
        also_reads: frozenset[str] = frozenset(),
        folded: MetricFacts | None = None,
    ) -> BoundComponent:
        """Return the component with its reference and its digests.

        Args:
            parser: for a metric, the name of the parser whose value it scores.
            also_reads: parts of the case that it is shown beyond those it declares.
            folded: for a set metric, what the numbers mean that it folds.

        Raises:
            DefinitionError: its fingerprint is none, or its parameters are no JSON.
        """
        facts = self.capabilities.facts
        if folded is not None:
            facts = self.capabilities.facts_folding(folded)
        reads = self.capabilities.reads | also_reads
        is_shown = _shown_to_parser(reads) if self.role == "parser" else reads
        ref = ComponentRef(
            role=self.role,
            name=self.name,
            component_id=self.component.component_id,
            version=self.component.version,
            fingerprint=self._fingerprint(),
            params=check_json(dict(self.params), f"{self.where}.params"),
            reads=sorted(reads),
            parser=parser,
            metric=facts,
        )
        return BoundComponent(
            ref=ref,
            component=self.component,
            capabilities=self.capabilities,
            digest=component_digest(ref),
            reads=is_shown,
            code=code_digest(self.component, self.capabilities.users_function),
        )

    def _fingerprint(self) -> str:
        called = f"{self.where}: {type(self.component).__name__}.fingerprint()"
        try:
            found = self.component.fingerprint()
        except DefinitionError:
            raise
        except Exception as error:
            raise DefinitionError(
                f"{called} raised {type(error).__name__}: {error}", field=self.where
            ) from error
        if not isinstance(found, str):
            raise DefinitionError(
                f"{called} gave {type(found).__name__}; it must give a text", field=self.where
            )
        return found


def declare(spec: Any, role: Role, where: str) -> DeclaredComponent:
    """Return the component that a spec stands for, its declarations read.

    Args:
        spec: an id, an import path, a ``ComponentUse`` or an object.
        role: what it must be.
        where: the field it stands in, for messages.

    Raises:
        DefinitionError: it is not such a component; the message names the field and the way out.
    """
    if spec is None:
        raise DefinitionError(f"{where} is None: name a {role}", field=where)
    component, params = make(spec, role)
    capabilities = read_capabilities(component, role, where)
    name = spec.name if isinstance(spec, ComponentUse) and spec.name else component.component_id
    return DeclaredComponent(component, role, name, params, where, capabilities)


def declare_all(specs: Sequence[Any], role: Role, where: str) -> list[DeclaredComponent]:
    """Return several components of one role; their names must differ."""
    found: list[DeclaredComponent] = []
    for index, spec in enumerate(specs):
        one = declare(spec, role, f"{where}[{index}]")
        if any(other.name == one.name for other in found):
            raise DefinitionError(
                f"{where} holds '{one.name}' twice; tell them apart with use(..., name=...)",
                field=where,
                value=one.name,
            )
        found.append(one)
    return found


def _shown_to_parser(reads: frozenset[str]) -> frozenset[str]:
    """Return what of a case a parser is shown, and its key covers.

    Never the gold answer, and the input only where it declares that: one that declares nothing
    reads all three parts, which would parse anew for every changed question.
    """
    if reads == frozenset(ALL_READS):
        return frozenset({"metadata"})
    return reads - {"expected_output"}
