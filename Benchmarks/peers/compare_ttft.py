#!/usr/bin/env python3
"""Time to first token, ours and transformers' in turns, on one checkpoint and image; prints a Markdown table.

Both run as separate processes with the same threads, each round one after the other, so that the state of the
machine is the same for both. Each of our rounds loads, warms up by a first answer, and times further ones;
transformers_ttft.py does the same. Ratios are peer / ours: above 1 we are faster.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def ours(arguments, precision: str) -> dict:
    """One process: a chat that asks the same thing repeatedly about the same image, from nothing each time."""
    question = "What are these? " + "Please look closely and answer in a few words. " * arguments.padding
    script = f"{question}\n" + "".join(
        f"/reset\n/image {arguments.image}\n{question}\n" for _ in range(arguments.repeats)
    )
    command = [
        str(arguments.program), "chat", str(arguments.image), "--model", str(arguments.model), "--json",
        "--precision", precision, "--threads", str(arguments.threads), "--max-tokens", "1", "--quiet",
    ]
    with tempfile.TemporaryFile("w+") as stdin:
        stdin.write(script)
        stdin.seek(0)
        run = subprocess.run(command, stdin=stdin, capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in run.stdout.splitlines()][1:]
    times = [answer["timings"] for answer in answers]
    middle = {
        key: statistics.median(t[key] for t in times)
        for key in ("encode", "project", "prefill", "time_to_first_token")
    }
    middle["prompt_tokens"] = answers[0]["usage"]["prompt_tokens"]
    return middle


def peer(arguments, dtype: str, channels_last: bool, prompt_tokens: int) -> dict:
    command = [
        sys.executable, str(ROOT / "Benchmarks/peers/transformers_ttft.py"), str(arguments.model),
        str(arguments.image), "--threads", str(arguments.threads), "--dtype", dtype,
        "--repeats", str(arguments.peer_repeats or arguments.repeats),
        "--warm-up", str(arguments.peer_warm_up), "--prompt-tokens", str(prompt_tokens),
    ]
    if channels_last:
        command.append("--channels-last")
    run = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=arguments.peer_timeout)
    return json.loads(run.stdout)


def lacks_bfloat16() -> bool:
    """Whether this is an x86-64 processor without bfloat16 products, where the peer takes 20 minutes an answer."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx2" in flags and "avx512_bf16" not in flags and "amx_bf16" not in flags


def start_to_first_token(arguments, precision: str) -> float:
    """Wall seconds of a whole process that answers one token."""
    began = time.monotonic()
    subprocess.run(
        [str(arguments.program), "describe", str(arguments.image), "What are these?", "--model",
         str(arguments.model), "--precision", precision, "--max-tokens", "1", "--quiet",
         "--threads", str(arguments.threads)],
        capture_output=True, check=True)
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("--program", type=Path, default=ROOT / ".build/release/fastvlm")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3, help="timed answers per process and round")
    parser.add_argument("--precisions", nargs="+", default=["bfloat16", "float32"])
    parser.add_argument(
        "--peer-timeout", type=float, default=900, help="seconds after which a peer is skipped by name")
    parser.add_argument(
        "--peer-repeats", type=int, help="the same for the peer, where it takes minutes an answer")
    parser.add_argument("--peer-warm-up", type=int, default=1, help="untimed answers of the peer")
    parser.add_argument(
        "--layouts", nargs="+", choices=["contiguous", "channels_last"],
        default=["contiguous", "channels_last"], help="memory layouts of the peer's vision tower")
    parser.add_argument(
        "--slow-peers", action="store_true", help="also peers that are known to take many minutes")
    parser.add_argument("--padding", type=int, default=1, help="sentences added to the question")
    arguments = parser.parse_args()

    rows: dict[str, list[dict]] = {}
    skipped: dict[str, str] = {}
    for _ in range(arguments.rounds):
        for precision in arguments.precisions:
            mine = ours(arguments, precision)
            rows.setdefault(f"fastvlm {precision}", []).append(mine)
            for channels_last in (layout == "channels_last" for layout in arguments.layouts):
                name = f"transformers {precision}" + (", channels_last" if channels_last else "")
                if name in skipped:
                    continue
                if precision == "bfloat16" and lacks_bfloat16() and not arguments.slow_peers:
                    skipped[name] = "no bfloat16 products on this processor: 20 minutes an answer"
                    continue
                try:
                    result = peer(arguments, precision, channels_last, mine["prompt_tokens"])
                    rows.setdefault(name, []).append(result)
                except subprocess.TimeoutExpired:
                    skipped[name] = f"took over {arguments.peer_timeout:.0f} s"
            print(json.dumps({key: values[-1] for key, values in rows.items()}), file=sys.stderr)

    def first_token(row: dict) -> float:
        return row["median"]["timeToFirstToken"] if "median" in row else row["time_to_first_token"]

    print("| | TTFT median (min–max), s | peer / ours, same precision |")
    print("|---|---|---|")
    for name, results in rows.items():
        times = sorted(first_token(result) for result in results)
        base = statistics.median(
            first_token(r) for r in rows["fastvlm " + ("bfloat16" if "bfloat16" in name else "float32")])
        middle = statistics.median(times)
        print(f"| {name} | {middle:.2f} ({times[0]:.2f}–{times[-1]:.2f}) | {middle / base:.2f} |")
    for name, reason in skipped.items():
        print(f"| {name} | skipped: {reason} | |")
    starts = [start_to_first_token(arguments, "bfloat16") for _ in range(arguments.rounds)]
    print(f"\nProcess start to first token, bfloat16, warm file cache: {statistics.median(starts):.2f} s")


if __name__ == "__main__":
    main()
