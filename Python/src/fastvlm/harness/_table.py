"""Results beside the paper's figures, as text."""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

FORMAT = "fastvlm-evaluation/1"
TRAININGS = ("stage 2", "stage 3", "model card")


def paper() -> list[dict[str, Any]]:
    """The paper's benchmarks: harness, task and metric of its protocol and of today's, figures with their sources."""
    rows: list[dict[str, Any]] = json.loads(pathlib.Path(__file__).with_name("paper.json").read_text())
    return rows


def task_names(names: Sequence[str]) -> list[str]:
    """Tasks by their names; ``paper`` are the ten as the paper's harnesses asked and scored them, ``today`` the ten of
    today's lmms-eval."""
    found: list[str] = []
    for name in names:
        group = [row[name]["task"] for row in paper()] if name in ("paper", "today") else [name]
        found += [each for each in group if each not in found]
    return found


def read_result(path: str | pathlib.Path) -> dict[str, Any]:
    """A result file.

    :raises ValueError: for what is none
    """
    try:
        result = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{path} is no result file: {error}") from error
    if not isinstance(result, dict) or result.get("format") != FORMAT:
        raise ValueError(f'{path} is no result file: it has not "format": "{FORMAT}"')
    return result


def checkpoint_size(name: str) -> str | None:
    """"7B" for what is called FastVLM-7B; None where the name says nothing."""
    found = re.search(r"(?<![\d.])(0\.5|1\.5|7)[ _-]?b(?![a-z0-9])", name.lower())
    return found.group(1) + "B" if found else None


def table(result: Mapping[str, Any], size: str | None = None) -> str:
    """A line for each benchmark that the paper has, then the other metrics."""
    size = size or checkpoint_size(result["model"]["name"]) or "0.5B"
    lines = [("benchmark", "task", "this run", *(f"paper, {each}" for each in TRAININGS[:2]), TRAININGS[2], "paper's harness")]
    shown = set()
    for row in paper():
        for protocol in ("paper", "today"):
            task, metric = row[protocol]["task"], row[protocol]["metric"]
            if task not in result["tasks"] or (task, metric) in shown:
                continue
            shown.add((task, metric))
            value = result["tasks"][task]["metrics"].get(metric)
            figures = {
                each["training"]: f"{each['value']:.1f}" for each in row["figures"]
                if each["checkpoint"] == f"FastVLM-{size}"}
            is_comparable = protocol == "paper" or row["paper"] == row["today"]
            lines.append((
                row["benchmark"], task, _percent(value), *(figures.get(each, "–") for each in TRAININGS),
                row["harness"] if is_comparable else f"{row['harness']}: {row['paper']['task']}"))
    text = _aligned(lines) if len(lines) > 1 else ""
    others = [
        (f"{task}", metric, _percent(value))
        for task, entry in result["tasks"].items() for metric, value in entry["metrics"].items()
        if (task, metric) not in shown]
    if others:
        text += ("\n" if text else "") + _aligned([("task", "metric", "this run"), *others])
    notes = [f"The paper's figures are those of FastVLM-{size}; where its harness differs, the task by its name is behind it."]
    if len(lines) == 1:
        notes = []
    model, harness = result["model"], result["harness"]
    limited = {task: entry["questions"] for task, entry in result["tasks"].items() if entry.get("limit")}
    if limited:
        notes.append("Only the first questions were asked, so this is not comparable: " + ", ".join(
            f"{number} of {task}" for task, number in limited.items()))
    failed = {task: entry["failed"] for task, entry in result["tasks"].items() if entry.get("failed")}
    if failed:
        notes.append("Failed, and scored as wrong answers: " + ", ".join(f"{n} of {task}" for task, n in failed.items()))
    cut = {task: entry["cutOff"] for task, entry in result["tasks"].items() if entry.get("cutOff")}
    if cut:
        notes.append("Cut off by their task's limit of tokens: " + ", ".join(f"{n} of {task}" for task, n in cut.items()))
    notes.append(
        f"{model['name']}, {model['precision']}, {model['imageSize']} pixels, checkpoint {model['sha256'][:12]}; "
        f"{harness['name']} {harness['version']}, {result['requests']} requests")
    return text + "\n" + "\n".join(notes)


def _percent(value: Any) -> str:
    return f"{100 * value:.1f}" if isinstance(value, (int, float)) else "–"


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() + "\n" for line in lines)
