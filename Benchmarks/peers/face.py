"""The face every peer shows to the driver: loads once, then one measured repetition per line of stdin.

stdout carries JSON lines only. First either
  {"peer": ..., "version": ..., "item": ..., "precision": ..., "threads": ..., "ready": true, ...}
or, and then the process ends with status 0,
  {"peer": ..., "item": ..., "precision": ..., "skipped": "reason"}
and after each line read one line {"seconds": ...} with whatever else the item has ("tokensPerSecond",
"stages"). End of input ends the process. Between lines a peer sleeps; no thread of it may spin.
"""

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ITEMS = ("encoder", "prefill", "decode", "ttft")


class Skip(Exception):
    """The peer cannot do this here; the message says why."""


@dataclass
class Prepared:
    """A loaded model: `measure` runs one repetition and gives its figures, "seconds" among them."""

    version: str
    measure: Callable[[], dict]
    settings: dict = field(default_factory=dict)


def timed(work: Callable[[], object]) -> Callable[[], dict]:
    def measure() -> dict:
        start = time.perf_counter()
        work()
        return {"seconds": time.perf_counter() - start}

    return measure


def timed_tokens(work: Callable[[], object], tokens: int) -> Callable[[], dict]:
    """Like timed, for `tokens` decoding steps a repetition."""

    def measure() -> dict:
        figures = timed(work)()
        return figures | {"tokens": tokens, "tokensPerSecond": tokens / figures["seconds"]}

    return measure


def parser(description: str) -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument("--item", choices=ITEMS, required=True)
    result.add_argument("--resolution", type=int, default=1024, help="side of the image (encoder, ttft)")
    result.add_argument("--positions", type=int, default=286, help="length of the prompt (prefill, ttft)")
    result.add_argument("--context", type=int, default=286, help="positions before the first token (decode)")
    result.add_argument("--tokens", type=int, default=16, help="decoding steps per repetition")
    result.add_argument("--precision", default="float32")
    result.add_argument("--threads", type=int, default=2)
    result.add_argument("--warm-up", type=int, default=1, help="repetitions before ready")
    add_folders(result)
    result.add_argument(
        "--force", action="store_true", help="run where the CPU has no such instructions, too"
    )
    return result


def add_folders(parser: argparse.ArgumentParser) -> None:
    downloads = ROOT / "downloads"
    checkpoint = downloads / "fastvlm-0.5b-random"
    parser.add_argument("--checkpoint", type=Path, default=checkpoint, help="folder of a FastVLM")
    parser.add_argument("--models", type=Path, default=downloads / "peers", help="what make_models.py writes")


def processor_flags() -> set[str]:
    """Instruction set names as Linux spells them."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):
                return set(line.split(":", 1)[1].split())
    return set()


def require_bfloat16(options) -> None:
    if not options.force and not processor_flags() & {"avx512_bf16", "amx_bf16", "bf16"}:
        raise Skip("no bfloat16 instructions on this processor")


def need(path: Path) -> Path:
    if not path.exists():
        raise Skip(f"{path.name} is missing: `make peer-models` makes it")
    return path


def serve(peer: str, options, prepare: Callable[[argparse.Namespace], Prepared]) -> None:
    """Runs the whole life of a peer. `prepare` imports its library, so that threads are set before."""
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not mix with the answers

    def say(line: dict) -> None:
        answers.write(json.dumps(line) + "\n")

    about = {"peer": peer, "item": options.item, "precision": options.precision}
    start = time.perf_counter()
    try:
        prepared = prepare(options)
        for _ in range(options.warm_up):
            prepared.measure()
    except (Skip, ImportError) as reason:
        say(about | {"skipped": str(reason)})
        return
    except Exception as failure:  # a peer's own failure is a result too
        say(about | {"skipped": f"{type(failure).__name__}: {failure}"[:500]})
        return
    ready = {"version": prepared.version, "threads": options.threads, "ready": True}
    seconds = round(time.perf_counter() - start, 3)
    say(about | ready | {"startSeconds": seconds, "settings": prepared.settings})
    for _ in sys.stdin:
        say(prepared.measure())
