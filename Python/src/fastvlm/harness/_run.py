"""Runs tasks of lmms-eval and writes what came of it, with all that a score depends on."""

from __future__ import annotations

import datetime
import functools
import hashlib
import importlib.metadata
import json
import os
import pathlib
import platform
from collections.abc import Callable, Mapping
from typing import Any

from .._native import version as engine_version
from . import HARNESS_VERSION, TASKS_FOLDER
from ._adapter import Adapter
from ._checkpoint import checkpoint_hash, checkpoint_hashes
from ._journal import Journal
from ._requests import WITHOUT_EFFECT
from ._table import FORMAT, task_names

#: Columns that are not hashed: what is large, and stands in other files.
_IMAGE = ("image", "audio", "video")


def evaluate(
    adapter: Adapter, tasks: list[str], *, limit: int | None = None, samples: pathlib.Path | None = None,
    answers: pathlib.Path | None = None,
) -> dict[str, Any]:
    """Asks and scores, in the folder where the data lies.

    :param limit: ask the first questions of each task only
    :param samples: folder for the raw answers, a file for each task
    :param answers: file of answers that are kept, to go on where a run was stopped
    :return: a result (``Evaluation/README.md`` describes it)
    """
    from lmms_eval import evaluator

    names = task_names(tasks)
    model = describe(adapter)
    if answers is not None:
        adapter.journal = Journal(answers, {key: model[key] for key in model if key not in ("name", "threads")})
    manager = _task_manager()
    if unknown := [name for name in names if name not in manager.all_tasks]:
        raise ValueError(f"lmms-eval {HARNESS_VERSION} and this package have no task {', '.join(unknown)}")
    found = evaluator.simple_evaluate(
        model=adapter, tasks=list(names), limit=limit, bootstrap_iters=0, task_manager=manager, log_samples=True,
        # MMMU's parser guesses where it finds no letter; in one thread its guesses are the same in every run.
        process_docs_parallel=1, verbosity="WARNING")
    if samples is not None:
        write_samples(samples, found["samples"])
    entries = {name: _task(adapter, name, found, limit) for name in sorted(found["results"])}
    return {
        "format": FORMAT, "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "harness": {
            "name": "lmms-eval", "version": importlib.metadata.version("lmms_eval"), "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in ("torch", "transformers", "datasets", "pillow")}},
        "model": model, "requests": "simple" if getattr(adapter, "is_simple", True) else "chat", "system": adapter.system,
        "tasks": entries, "failures": [str(failure) for failure in adapter.failures],
        "seconds": round(adapter.seconds, 3), "machine": {"processor": _processor(), "system": platform.platform()},
    }


@functools.cache
def _task_manager() -> Any:
    """The index of all tasks, which takes seconds to make; tasks themselves are made anew for each evaluation."""
    from lmms_eval.tasks import TaskManager

    return TaskManager("WARNING", include_path=str(TASKS_FOLDER), model_name="fastvlm")


def describe(adapter: Adapter) -> dict[str, Any]:
    """The model of a result: everything about it that an answer may depend on."""
    info = adapter.engine.info
    hashes = checkpoint_hashes(info.directory)
    return {
        "name": os.fspath(adapter.engine.path), "sha256": checkpoint_hash(hashes), "files": hashes, "layout": info.layout,
        "precision": info.precision, "imageSize": info.image_size, "tokensPerImage": info.tokens_per_image,
        "template": info.template, "instructionSet": info.instruction_set, "threads": info.threads,
        "options": {
            key: str(value) for key, value in sorted(adapter.engine._options.items()) if key not in WITHOUT_EFFECT},
        "engine": engine_version(),
    }


def write_samples(folder: pathlib.Path, samples: Mapping[str, list[Mapping[str, Any]]]) -> None:
    """Raw answers and metrics of every document, JSON lines."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, entries in samples.items():
        with open(folder / f"{name}.jsonl", "w", encoding="utf-8") as file:
            for entry in entries:
                kept = {key: value for key, value in entry.items() if key not in ("arguments", "doc", "input_media")}
                file.write(json.dumps(kept, default=str, ensure_ascii=False) + "\n")


def write_result(path: pathlib.Path, result: Mapping[str, Any]) -> None:
    """Replaces the file as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(path)


def adapter_class(requests: str) -> Callable[..., Adapter]:
    """The model for one of the harness's two forms of requests."""
    from . import _lmms

    return _lmms.FastVLMChat if requests == "chat" else _lmms.FastVLMSimple


def _task(adapter: Adapter, name: str, found: Mapping[str, Any], limit: int | None) -> dict[str, Any]:
    config = found["configs"][name]
    split = config.get("test_split") or config.get("validation_split")
    documents = adapter.task_dict[name][split]  # type: ignore[attr-defined]
    example = adapter.examples[name]
    metrics = {
        key.split(",")[0]: value for key, value in found["results"][name].items()
        if "," in key and "_stderr" not in key and isinstance(value, (int, float))}
    return {
        "metrics": metrics, "questions": found["n-samples"][name]["effective"], "limit": limit,
        "protocol": "lmms-eval " + HARNESS_VERSION if not (TASKS_FOLDER / f"{name}.yaml").exists() else "fastvlm.harness",
        "data": {
            "path": config.get("dataset_path"), "configuration": config.get("dataset_name"), "split": split,
            "rows": len(documents), "sha256": _data_hash(documents)},
        "prompt": {
            "example": example.text, "images": example.images, "positions": example.positions,
            "options": example.options},
        "requests": example.requests, "failed": example.requests - example.answered, "cutOff": example.cut_off,
    }


def _data_hash(documents: Any) -> str:
    """SHA-256 of all columns that are plain: whether two runs had the same questions and answers."""
    plain = [name for name in documents.column_names if not name.startswith(_IMAGE)]
    digest = hashlib.sha256()
    for row in documents.select_columns(plain):
        digest.update(json.dumps(row, sort_keys=True, default=str).encode())
    return digest.hexdigest()


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith(("model name", "CPU part"))]
    except OSError:
        names = []
    return f"{names[0]} × {len(names)}" if names else platform.machine()
