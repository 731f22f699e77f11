"""Evaluations from the command line: python -m fastvlm.harness --help"""

from __future__ import annotations

import argparse
import importlib.util
import os
import pathlib
import subprocess
import sys

from .._errors import FastVLMError
from . import TASKS_FOLDER, use_data
from ._adapter import EvaluationError
from ._table import paper, read_result, table

REQUIREMENTS = pathlib.Path(__file__).with_name("requirements.txt")

#: Exit statuses, as of the program `fastvlm`: by the kind of an engine's error, and the rest.
_KINDS = {"model": 69, "image": 65, "request": 64, "system": 70, "output": 74}
_FAILED, _WRONG, _LACKS, _UNWRITABLE = 1, 64, 70, 74


def main(arguments: list[str] | None = None) -> int:
    """The status of the program: 0; 1 when requests failed, so that nothing was scored; else as ``fastvlm --help`` says."""
    parser = argparse.ArgumentParser(prog="python -m fastvlm.harness", description=__doc__.split(":")[0] if __doc__ else "")
    commands = parser.add_subparsers(dest="command", required=True)
    install = commands.add_parser("install", help="install lmms-eval into this environment")
    install.add_argument("--yes", action="store_true", help="do not ask")
    run = commands.add_parser("run", help="ask a model and write a result file")
    run.add_argument("model", help='a checkpoint\'s folder, a name in the hub\'s cache, or "embedded"')
    run.add_argument("--tasks", required=True, help='names with commas between; "paper" and "today" are ten each')
    run.add_argument("--output", type=pathlib.Path, default=pathlib.Path("result.json"))
    run.add_argument("--data", type=pathlib.Path, help="a folder with ORG/NAME folders of data; nothing is downloaded then")
    run.add_argument("--answers", type=pathlib.Path, help="keep answers in this file, and go on from those in it")
    run.add_argument("--samples", type=pathlib.Path, help="a folder for raw answers")
    run.add_argument("--requests", choices=["simple", "chat"], default="simple",
                     help="simple: images before the text, as the paper's figures; chat: where they stand in it")
    run.add_argument("--limit", type=int, help="only the first questions of each task")
    run.add_argument("--precision")
    run.add_argument("--image-size", type=int)
    run.add_argument("--threads", type=int)
    run.add_argument("--template")
    run.add_argument("--system", help="a system prompt in place of the template's")
    run.add_argument("--running", type=int, help="requests that are worked on at once; 8")
    run.add_argument("--allowed-failures", type=int, default=0)
    run.add_argument("--size", choices=["0.5B", "1.5B", "7B"], help="whose figures of the paper stand beside")
    shown = commands.add_parser("table", help="result files beside the paper's figures")
    shown.add_argument("results", nargs="+", type=pathlib.Path)
    shown.add_argument("--size", choices=["0.5B", "1.5B", "7B"])
    commands.add_parser("tasks", help="the paper's benchmarks and their tasks; the folder for lmms-eval's --include_path")
    options = parser.parse_args(arguments)
    try:
        if options.command == "install":
            return _install(options.yes)
        if options.command == "tasks":
            return _tasks()
        if options.command == "table":
            print("\n\n".join(table(read_result(path), options.size) for path in options.results))
            return 0
        return _run(options)
    except EvaluationError as error:
        return _ended(error, _FAILED)
    except FastVLMError as error:
        return _ended(error, _KINDS.get(error.kind, _LACKS))
    except (ValueError, TypeError) as error:
        return _ended(error, _WRONG)
    except KeyboardInterrupt:
        return 130


def _ended(error: object, status: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return status


def _run(options: argparse.Namespace) -> int:
    if importlib.util.find_spec("lmms_eval") is None:
        return _ended("lmms-eval is not in this environment: python -m fastvlm.harness install", _LACKS)
    tasks = [name.strip() for name in options.tasks.split(",") if name.strip()]
    paths = {
        key: path.absolute() if path is not None else None
        for key, path in (("output", options.output), ("answers", options.answers), ("samples", options.samples))}
    if message := _unwritable(options.output):
        return _ended(message, _UNWRITABLE)
    model = options.model if not os.path.exists(os.path.expanduser(options.model)) else os.path.abspath(
        os.path.expanduser(options.model))
    if options.data is not None:
        if not options.data.is_dir():
            raise ValueError(f"{options.data} is no folder")
        use_data(options.data)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from . import _run

    arguments = {
        "precision": options.precision, "image_size": options.image_size, "threads": options.threads,
        "template": options.template, "maximum_running": options.running}
    adapter = _run.adapter_class(options.requests)(
        model, system=options.system, allowed_failures=options.allowed_failures,
        **{key: value for key, value in arguments.items() if value is not None})
    result = _run.evaluate(adapter, tasks, limit=options.limit, samples=paths["samples"], answers=paths["answers"])
    _run.write_result(paths["output"] or pathlib.Path("result.json"), result)
    print(table(result, options.size))
    print(f"\n{paths['output']} has all of it")
    return 0


def _unwritable(path: pathlib.Path) -> str | None:
    """Why a result could not be written, before hours of work."""
    folder = path.absolute().parent
    if path.is_dir():
        return f"{path} is a folder; name the result file"
    if not folder.is_dir():
        return f"there is no folder {folder}"
    return None if os.access(folder, os.W_OK) else f"{folder} cannot be written"


def _install(is_confirmed: bool) -> int:
    pip = [sys.executable, "-m", "pip"]
    steps = [
        [*pip, "install", "-r", str(REQUIREMENTS)],
        # PyPI's is for CUDA and ends every import of lmms-eval beside a torch for CPUs; images need none of it.
        [*pip, "uninstall", "--yes", "torchvision"],
    ]
    print(f"Into {sys.prefix} (some 3 GB; half an hour at most):")
    for step in steps:
        print("  " + " ".join(step))
    if not is_confirmed:
        if not sys.stdin.isatty():
            return _ended("nobody to ask; --yes installs", _WRONG)
        if input("Install? [y/N] ").strip().lower() not in ("y", "yes"):
            return _ended("nothing was installed", _WRONG)
    return _LACKS if any(subprocess.call(step) for step in steps) else 0


def _tasks() -> int:
    for row in paper():
        print(
            f"{row['benchmark']:22} {row['questions']:6} questions  paper ({row['harness']}): {row['paper']['task']} "
            f"{row['paper']['metric']}; today: {row['today']['task']} {row['today']['metric']}")
    print(f"\n{TASKS_FOLDER}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
