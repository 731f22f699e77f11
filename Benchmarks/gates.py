#!/usr/bin/env python3
"""Holds a run of compare.py against the project's targets and floors: one row per work item.

A figure below its floor fails: compare.py then ends with status 3, and so does this program. What the run could
not measure (a peer that was skipped) is named with the reason and does not fail. All figures are ratios within
the run, so that a slow hour of the machine hits both sides; only the start of a process is in seconds. Where a
peer has no bfloat16 on this processor, its float32 stands in, without a verdict.
"""

import argparse
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

import contestants
import report


@dataclass(frozen=True)
class Verdict:
    """One row: what was reached beside what was wished for."""

    work: str
    measure: str
    target: float
    floor: float
    reached: float | None = None
    reason: str = ""
    """Why there is no figure."""
    higher: bool = False
    """Whether higher is better."""
    binding: bool = True
    """False where the peer computes in another precision, for want of the one asked for."""

    def meets(self, wish: float) -> bool:
        return self.reached >= wish if self.higher else self.reached <= wish

    @property
    def failed(self) -> bool:
        return self.binding and self.reached is not None and not self.meets(self.floor)

    @property
    def word(self) -> str:
        if self.reached is None:
            return f"not measured: {self.reason}"
        if not self.binding:
            return f"no verdict: {self.reason}"
        if self.failed:
            return "**BELOW THE FLOOR**"
        return "target reached" if self.meets(self.target) else "above the floor"


# (ours, peer's name begins with, peer's precisions, target, floor). Below 1: faster than the peer's best.
AGAINST_PEERS = {
    "encoder": [
        ("bfloat16", "openvino", ["bfloat16"], 0.85, 1.0),
        ("int8", "openvino", ["int8"], 0.65, 0.9),
        ("float32", "openvino", ["float32"], 0.95, 1.1),
    ],
    "prefill": [
        ("bfloat16", "openvino", ["bfloat16"], 0.85, 1.0),
        ("int8", "openvino", ["int8"], 0.75, 1.0),
    ],
    # Tokens per second: above 1 is faster.
    "decode": [
        ("bfloat16", "llama.cpp", ["bfloat16"], 1.0, 0.95),
        ("int8", "llama.cpp", ["q8_0"], 1.15, 1.0),
        ("int4", "llama.cpp", ["q4_0", "q4_k_m"], 1.3, 1.0),
    ],
    # How many times faster.
    "ttft": [
        ("bfloat16", "transformers", ["bfloat16"], 2.2, 1.9),
        ("int8", "transformers", ["bfloat16"], 3.6, 3.0),
    ],
}
# Shares of the ceiling measured in the same rounds: (ours, wish, floor). The floors lie a quarter below the wishes.
OF_LIMIT = {
    "encoder:1024": [("float32", 0.8, 0.6), ("int8", 0.72, 0.52)],
    "prefill:286": [("float32", 0.8, 0.6), ("int8", 0.72, 0.52)],
    "decode:286": [("bfloat16", 0.8, 0.6), ("int8", 0.65, 0.45)],
}
SECOND_QUESTION = (0.05, 0.08)
START_SECONDS = (0.4, 1.0)
RESIDENT_GIGABYTES = (0.6, 0.6)
THREADS = (1.9, 1.8)


def middle(values: list[float]) -> float:
    return statistics.median(values)


class Run:
    """The lines of a run, by item."""

    def __init__(self, lines: list[dict]):
        self.lines = lines
        self.items = list(dict.fromkeys(line["item"] for line in lines if "item" in line))

    def entry(self, item: str, precision: str, name: str = "fastvlm") -> report.Entry | None:
        for one in report.entries(self.lines, item):
            if (one.name, one.precision) == (name, precision):
                return one
        return None

    def has(self, flag: str) -> bool:
        return any(flag in line.get("machine", {}).get("flags", []) for line in self.lines)

    def peers(self, item: str, name: str, precisions: list[str]) -> list[report.Entry]:
        everyone = report.entries(self.lines, item)
        return [one for one in everyone if one.name.startswith(name) and one.precision in precisions]

    def reason(self, item: str, name: str, precisions: list[str]) -> str:
        for line in self.lines:
            if line["kind"] == "skipped" and line["item"] == item:
                if line["contestant"].startswith(name) and line["precision"] in precisions:
                    return f"{line['contestant']} {line['precision']}: {line['reason']}"
        return f"no {name} in this run"


def against_peers(run: Run, item: str):
    kind = item.partition(":")[0]
    for precision, name, precisions, target, floor in AGAINST_PEERS.get(kind, []):
        higher = kind in ("decode", "ttft")
        row = {"work": f"{item} {precision}", "target": target, "floor": floor, "higher": higher}
        mine, peers = run.entry(item, precision), run.peers(item, name, precisions)
        reason, binding = "", bool(peers)
        if mine and not peers:
            # What a peer without bfloat16 on this processor would do instead.
            reason, peers = run.reason(item, name, precisions), run.peers(item, name, ["float32"])
        if not mine or not peers:
            reason = reason or run.reason(item, "fastvlm", [precision])
            yield Verdict(**row, measure=f"beside {name}", reason=reason)
            continue
        best = min(peers, key=lambda one: one.seconds)
        ratio = best.seconds / mine.seconds if higher else mine.seconds / best.seconds
        measure = f"{'times' if higher else 'of'} {best.name} {best.precision}"
        yield Verdict(**row, measure=measure, reached=ratio, reason=reason, binding=binding)


def of_limit(run: Run, item: str):
    kind, _, size = item.partition(":")
    peak = report.peaks(run.lines, item)
    for precision, target, floor in OF_LIMIT.get(item, []):
        mine = run.entry(item, precision)
        share = report.limit(mine, kind, int(size), peak) if mine else None
        limit = "memory speed" if kind == "decode" else "arithmetic"
        # Tiles multiply faster than caches can feed them: their peak is no measure of a kernel.
        has_tiles = precision == "int8" and kind != "decode" and run.has("amx_int8")
        yield Verdict(
            f"{item} {precision}",
            f"of the machine's {limit}",
            target,
            floor,
            share,
            "AMX's peak is beyond reach" if share and has_tiles else "" if share else "no peak in this run",
            binding=not has_tiles,
        )


def second_question(run: Run, item: str):
    for precision in contestants.OURS["second"]:
        if mine := run.entry(item, precision):
            ratio = middle([one["seconds"] / one["firstSeconds"] for one in mine.rounds])
            yield Verdict(f"{item} {precision}", "of the first question's time", *SECOND_QUESTION, ratio)


def process_start(run: Run, item: str):
    cold, warm = run.entry(item, "bfloat16"), run.entry(item.replace("cold", "ttft"), "bfloat16")
    if cold and warm:
        beyond = cold.seconds - warm.seconds
        yield Verdict(f"{item} bfloat16", "seconds beyond the first token's", *START_SECONDS, beyond)
    size = next((line["checkpointBytes"] for line in run.lines if "checkpointBytes" in line), None)
    if cold and size:
        beyond = (middle(cold.values("peakResidentBytes")) - size) / 1e9
        yield Verdict(f"{item} bfloat16", "GB resident beyond the checkpoint", *RESIDENT_GIGABYTES, beyond)


def scaling(run: Run, item: str):
    one, all_of_them = (
        report.peaks(run.lines, item, name).get("float32") for name in (contestants.PEAK_OF_ONE, "peak")
    )
    machine = f" (the machine's own peak: {all_of_them / one:.2f})" if one and all_of_them else ""
    for precision in contestants.OURS[item.partition(":")[0]]:
        slow, fast = run.entry(item, precision, contestants.ONE_THREAD), run.entry(item, precision)
        if slow and fast:
            pairs = zip(slow.values("seconds"), fast.values("seconds"), strict=False)
            ratio = middle([a / b for a, b in pairs])
            yield Verdict(
                f"{item} {precision}", f"times one thread{machine}", *THREADS, ratio, higher=True
            )


RULES = {
    "encoder": [against_peers, of_limit],
    "prefill": [against_peers, of_limit],
    "decode": [against_peers, of_limit],
    "ttft": [against_peers],
    "second": [second_question],
    "cold": [process_start],
    "encoder-threads": [scaling],
    "prefill-threads": [scaling],
}


def judge(lines: list[dict]) -> list[Verdict]:
    run = Run(lines)
    return [
        verdict
        for item in run.items
        for rule in RULES[item.partition(":")[0]]
        for verdict in rule(run, item)
    ]


def markdown(verdicts: list[Verdict]) -> str:
    text = [
        "### Targets and floors",
        "",
        "| work item | measure | reached | target | floor | |",
        "|---|---|---:|---:|---:|---|",
    ]
    for one in verdicts:
        reached = "" if one.reached is None else f"{one.reached:.2f}"
        sign = "≥" if one.higher else "≤"
        cells = [one.work, one.measure, reached, f"{sign} {one.target:g}", f"{sign} {one.floor:g}", one.word]
        text.append("| " + " | ".join(cells) + " |")
    failed = sum(one.failed for one in verdicts)
    return "\n".join([*text, "", f"{failed} below the floor." if failed else "None below the floor.", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = contestants.ROOT / "downloads" / "bench" / "rounds.jsonl"
    parser.add_argument("rounds", type=Path, nargs="?", default=default)
    parser.add_argument("--run", help="its time, as in the lines")
    options = parser.parse_args()
    verdicts = judge(report.read(options.rounds, options.run))
    print(markdown(verdicts))
    if any(verdict.failed for verdict in verdicts):
        sys.exit(3)


if __name__ == "__main__":
    main()
