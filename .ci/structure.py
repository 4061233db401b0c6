"""Print how the package is built: figures to hold a change of its structure against.

    python .ci/structure.py [--where]

Files and lines per package; the files and functions of the package that one trivial case enters
(an exact match, one sample, in memory: what a run of two cases enters more than once, counted by
``sys.setprofile`` in all threads); branches on the pipeline's shape outside ``core/pipeline.py``;
probes of components by ``getattr`` and ``hasattr`` outside the one place for each; names that stand
twice. ``--where`` lists the places.
"""

from __future__ import annotations

import ast
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

from conventions import class_names_stand_once, file_names_stand_once
from source_tree import PACKAGE, SourceTree

TREE = SourceTree.named()
ROOT = TREE.root / PACKAGE
SHAPE = {"reducer", "selector", "subject", "of", "judged"}
"""What a run's pipeline is shaped by."""
SHAPED = {"core/pipeline.py"}
DECLARED = {
    "additive",
    "aclose",
    "aggregate",
    "aopen",
    "base_url",
    "bound_tokens",
    "build_workflow",
    "check_prompt",
    "check_samples",
    "component_id",
    "cpu_bound",
    "cpu_timeout",
    "estimate_tokens",
    "fingerprinted",
    "higher_is_better",
    "judge",
    "judges_needed",
    "k",
    "kind",
    "made_elsewhere",
    "max_output_tokens",
    "max_prompt_tokens",
    "min_judgments",
    "model",
    "of",
    "of_kind",
    "parse",
    "path_params",
    "provider_key",
    "reads",
    "reads_parsed",
    "reduce",
    "request",
    "reuse_across_runs",
    "sampling",
    "score",
    "score_set",
    "scores_refusals",
    "select",
    "structured_output",
    "subject",
    "unit",
    "unparsed",
    "users_function",
    "value_range",
    "version",
}
"""What a component may declare."""
PROBERS = {"planning/capabilities.py", "catalog/registry.py"}


def modules() -> Iterator[tuple[str, ast.Module, str]]:
    """Yield every module of the package: its path within it, its tree and its text."""
    for module in TREE.modules:
        yield module.path, module.tree, module.text


def sizes() -> tuple[Counter[str], Counter[str]]:
    """Return files and lines, each by package."""
    files: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    for path, _, text in modules():
        package = path.split("/")[0] if "/" in path else "(front)"
        files[package] += 1
        lines[package] += len(text.splitlines())
    return files, lines


def branches() -> Iterator[str]:
    """Yield every branch outside the pipeline that asks what shape a run has."""
    for path, tree, _ in modules():
        if path in SHAPED or path.startswith("testing/"):
            continue
        calls = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        for node in ast.walk(tree):
            tests: list[ast.expr] = []
            if isinstance(node, ast.If | ast.IfExp | ast.While | ast.Assert):
                tests = [node.test]
            elif isinstance(node, ast.comprehension):
                tests = node.ifs
            for test in tests:
                asked = {
                    inner.attr
                    for inner in ast.walk(test)
                    if isinstance(inner, ast.Attribute)
                    and inner.attr in SHAPE
                    and id(inner) not in calls
                }
                if asked:
                    yield f"{path}:{test.lineno}: {ast.unparse(test)}"


def probes() -> Iterator[str]:
    """Yield every question after what a component declares, outside of where these are asked."""
    for path, tree, _ in modules():
        if path in PROBERS or path.startswith("testing/"):
            continue
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("getattr", "hasattr")
                and len(node.args) > 1
            ):
                asked = ast.unparse(node.args[0])
                name = node.args[1].value if isinstance(node.args[1], ast.Constant) else None
                of_component = asked.split(".")[-1] in ("component", "metric", "judge", "generator")
                if of_component or (name in DECLARED and path.split("/")[0] != "adapters"):
                    yield f"{path}:{node.lineno}: {ast.unparse(node)}"


def entered() -> tuple[Counter[str], Counter[str]]:
    """Return files and functions of the package that one more trivial case enters, with counts."""
    from themis import Experiment
    from themis.core.config import EvaluationConfig, GenerationConfig, StorageConfig
    from themis.core.models import Case, Dataset

    def experiment(n: int) -> Experiment:
        cases = [
            Case(case_id=f"c{i}", input={"question": "2+2"}, expected_output={"answer": "4"})
            for i in range(n)
        ]
        return Experiment(
            generation=GenerationConfig(generator="builtin/demo_generator"),
            evaluation=EvaluationConfig(
                metrics=["builtin/exact_match"], parsers=["builtin/json_identity"]
            ),
            storage=StorageConfig(store="memory"),
            datasets=[Dataset(dataset_id="d", cases=cases)],
        )

    def count(n: int) -> Counter[tuple[str, str]]:
        seen: Counter[tuple[str, str]] = Counter()
        prefix = str(ROOT) + "/"

        def profile(frame: Any, event: str, arg: object) -> None:
            del arg
            if event == "call" and frame.f_code.co_filename.startswith(prefix):
                path = frame.f_code.co_filename.removeprefix(prefix)
                seen[path, f"{frame.f_code.co_qualname}:{frame.f_code.co_firstlineno}"] += 1

        one = experiment(n)
        threading.setprofile(profile)
        sys.setprofile(profile)
        try:
            one.run(progress=False)
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
        return seen

    count(3)  # what is made once a process
    less, more = count(2), count(12)
    files: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    for (path, function), times in more.items():
        extra = times - less[path, function]
        if extra >= 10:
            files[path] += extra
            functions[f"{path}:{function}"] += extra
    return files, functions


def main() -> int:
    """Print the figures."""
    where = "--where" in sys.argv[1:]
    files, lines = sizes()
    print(f"{'package':14}{'files':>6}{'lines':>8}")
    for package in sorted(files):
        print(f"{package:14}{files[package]:6}{lines[package]:8}")
    print(f"{'all':14}{files.total():6}{lines.total():8}")
    in_files, in_functions = entered()
    calls = in_functions.total() / 10
    print(
        f"one more trivial case: {len(in_files)} files, {len(in_functions)} functions, "
        f"{calls:.0f} calls"
    )
    found = {
        "branches on the pipeline's shape": branches(),
        "probes of components": probes(),
        "file names that stand twice": file_names_stand_once(TREE),
        "class names that stand twice": class_names_stand_once(TREE),
    }
    for what, lines_found in found.items():
        places = list(lines_found)
        print(f"{what}: {len(places)} in {len({one.split(':')[0] for one in places})} files")
        if where:
            print("\n".join(f"  {one}" for one in places))
    return 0


if __name__ == "__main__":
    sys.exit(main())
