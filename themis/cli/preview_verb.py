"""The verb preview, which shows requests without sending them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from themis.cli.output import AsJson, show
from themis.cli.run_verbs import ConfigPath, Overrides, from_config
from themis.core.shown_text import shown_line

if TYPE_CHECKING:
    from themis.experiment.preview import CasePreview, JudgePromptPreview


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(preview)


def preview(
    config: ConfigPath,
    n: Annotated[int, typer.Option("-n", "--cases", help="How many cases.")] = 3,
    output: Annotated[
        str | None, typer.Option(help="A text to parse and score as each case's output.")
    ] = None,
    outputs: Annotated[
        Path | None,
        typer.Option(help='A .jsonl file of outputs: {"case_id": ..., "output": ...} a line.'),
    ] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Show the requests of the first cases without sending them."""
    from themis.core.errors import DefinitionError

    if output is not None and outputs is not None:
        raise DefinitionError("give --output for every case, or --outputs FILE, not both")
    given = output if outputs is None else _read(outputs)
    shown = from_config(config, overrides).preview(n, outputs=given)
    show(
        lambda: [one.plain() for one in shown],
        lambda: "\n\n".join(_text(one) for one in shown),
        as_json=as_json,
    )


def _read(path: Path) -> dict[str, Any]:
    """Return the outputs of a file by case id."""
    from themis.core.errors import DefinitionError

    found: dict[str, Any] = {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DefinitionError(f"--outputs {path} is not UTF-8 text") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"--outputs {path} line {number}"
        try:
            data = json.loads(line)
        except ValueError as error:
            raise DefinitionError(f"{where}: not JSON: {error}") from None
        fits = isinstance(data, dict) and set(data) == {"case_id", "output"}
        if not fits or not isinstance(data["case_id"], str):
            raise DefinitionError(f'{where}: write {{"case_id": ..., "output": ...}}')
        if data["case_id"] in found:
            raise DefinitionError(f"{where}: the case '{data['case_id']}' stands there twice")
        found[data["case_id"]] = data["output"]
    return found


def _text(one: CasePreview) -> str:
    seeds = f"seed {one.seed}"
    if one.other_seeds:
        seeds += f" (further samples: {', '.join(map(str, one.other_seeds))})"
    about = f"about {one.prompt_tokens:,} prompt tokens"
    lines = [
        shown_line(f"Case {one.case_id} of {one.dataset_id}: {seeds}, {about}"),
        f"the generator is shown: {_json(one.case)}",
        "request:" if one.is_exact else "rendered input (this generator tells no request):",
        _json(one.request, indent=2),
    ]
    if one.instructions is not None:
        lines += ["instructions, apart:", one.instructions]
    if one.output is not None:
        lines.append(f"given the output: {_json(one.output)}")
    for parsed in one.parsed:
        value = _json(parsed.value) if parsed.failure is None else _why(parsed)
        lines.append(f"  {parsed.parser} reads: {value}")
    for score in one.scores:
        said = [] if score.value is None else [f"{score.value:g}"]
        said += [_why(score)] if score.failure is not None else []
        said += [_json(score.details)] if score.details else []
        lines.append(f"  {score.metric} gives: {', '.join(said)}")
    for asked in one.judge_prompts:
        lines += _asked(asked)
    return "\n".join(lines)


def _asked(asked: JudgePromptPreview) -> list[str]:
    if asked.prompt is None:
        return [f"  {asked.metric} asks nothing: {asked.failure}"]
    about = "" if asked.prompt_tokens is None else f", about {asked.prompt_tokens:,} tokens"
    lines = [f"  {asked.metric} would ask {asked.judge}{about}:"]
    if asked.prompt.instructions:
        lines.append(f"    (instructions) {asked.prompt.instructions}")
    return [*lines, *(f"    {line}" for line in asked.prompt.text.splitlines())]


def _why(failed: Any) -> str:
    return f"{failed.failure_category} ({failed.failure})"


def _json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)
