#!/usr/bin/env python3
"""The Markdown tables of a run from compare.py's JSON lines (the last run of the file unless --run).

Times: median (smallest-largest). "ours / peer" compares the same class of precision: float32, 16 bit,
8 bit, 4 bit; below 1 we are faster (decode: tokens per second, above 1 we are faster). "% of limit" is the
share of the peak measured in the same rounds: arithmetic for the encoder and prefill, memory read for decode.
"CPU s" is the median processor time of a repetition over all threads; divided by the threads it is roughly
the time on a quiet machine. "others" is the median of how many cores were busy with anything else during the
repetitions: above about 0.2 the figure is not to be trusted.
"""

import argparse
import json
import statistics
from pathlib import Path

import contestants

CLASSES = {
    "float32": "float32",
    "bfloat16": "16 bit",
    "float16": "16 bit",
    "int8": "8 bit",
    "q8_0": "8 bit",
    "int4": "4 bit",
    "q4_0": "4 bit",
    "q4_k_m": "4 bit",
}
ENCODER = {256: 29.6, 512: 118.0, 768: 266.0, 1024: 473.0}  # GFLOP, 2 x multiplications
LAYERS, WIDTH, KEYS, HIDDEN, ROWS = 24, 896, 128, 4864, 152_000  # of Qwen2-0.5B
BLOCKS = LAYERS * (2 * WIDTH * WIDTH + 2 * WIDTH * KEYS + 3 * WIDTH * HIDDEN)  # weights of its layers


def operations(kind: str, size: int) -> float | None:
    """GFLOP of an item."""
    if kind == "encoder":
        return ENCODER.get(size, ENCODER[1024] * (size / 1024) ** 2)
    if kind == "prefill":
        attention = LAYERS * 2 * size * size * WIDTH  # half of all pairs
        return (2 * BLOCKS * size + attention + 2 * WIDTH * ROWS) / 1e9
    return None


def gigabytes_per_token(precision: str, context: int) -> float:
    """Weights and the cache of a decoding step, as the precision's file holds them."""
    bits = {"float32": (32, 32), "16 bit": (16, 16), "8 bit": (8.5, 8.5), "4 bit": (4.5, 8.5)}
    layers, head = bits[CLASSES[precision]]
    cache = LAYERS * 2 * KEYS * context * 2
    return (BLOCKS * layers / 8 + WIDTH * ROWS * head / 8 + cache) / 1e9


class Entry:
    """One contestant of one item."""

    def __init__(self, name: str, precision: str, ours: bool):
        self.name, self.precision, self.ours = name, precision, ours
        self.rounds: list[dict] = []

    def values(self, key: str) -> list[float]:
        return [line[key] for line in self.rounds if key in line]

    @property
    def seconds(self) -> float:
        return statistics.median(self.values("seconds"))


def entries(lines: list[dict], item: str) -> list[Entry]:
    found: dict[tuple, Entry] = {}
    for line in lines:
        if line["kind"] == "round" and line["item"] == item and not line["contestant"].startswith("peak"):
            key = (line["contestant"], line["precision"])
            entry = found.setdefault(key, Entry(*key, line.get("ours", False)))
            entry.rounds.append(line)
    return list(found.values())


def peaks(lines: list[dict], item: str, probe: str = "peak") -> dict[str, float]:
    """Medians of every number that the probe gave in the rounds of this item."""
    seen: dict[str, list[float]] = {}
    for line in lines:
        if line["kind"] == "round" and line["item"] == item and line["contestant"] == probe:
            for key, value in {**line, **line.get("peaks", {})}.items():
                if isinstance(value, int | float) and key not in (
                    "round",
                    "load",
                    "cpuSeconds",
                    "othersBusy",
                    "seconds",
                    "ours",
                ):
                    seen.setdefault(key, []).append(value)
    return {key: statistics.median(values) for key, values in seen.items()}


def limit(entry: Entry, kind: str, size: int, peak: dict[str, float]) -> float | None:
    """Achieved share of the peak."""
    if kind == "decode":
        read = peak.get("memoryRead")
        rates = entry.values("tokensPerSecond")
        if read and rates:
            return statistics.median(rates) * gigabytes_per_token(entry.precision, size) / read
        return None
    work = operations(kind, size)
    keys = {
        "float32": ("float32",),
        "16 bit": ("bfloat16", "float32"),
        "8 bit": ("int8",),
        "4 bit": ("int8",),
    }
    best = next((peak[key] for key in keys[CLASSES[entry.precision]] if key in peak), None)
    return work / entry.seconds / best if work and best else None


def spread(values: list[float], digits: int) -> str:
    middle = statistics.median(values)
    return f"{middle:.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def rows(lines: list[dict], item: str) -> list[str]:
    kind, _, number = item.partition(":")
    size, everyone, peak = int(number), entries(lines, item), peaks(lines, item)
    mine = {CLASSES[entry.precision]: entry for entry in everyone if entry.name == "fastvlm"}
    result = []
    for entry in everyone:
        decoding = kind == "decode"
        values = entry.values("tokensPerSecond") if decoding else entry.values("seconds")
        rival = mine.get(CLASSES[entry.precision])
        ratio = ""
        if rival and entry is not rival:
            ratio = f"{entry.seconds / rival.seconds if decoding else rival.seconds / entry.seconds:.2f}"
        share = limit(entry, kind, size, peak)
        cells = [
            entry.name,
            entry.precision,
            spread(values, 1 if decoding else 3),
            ratio,
            f"{100 * share:.0f} %" if share else "",
            f"{statistics.median(entry.values('cpuSeconds')):.2f}",
            f"{statistics.median(entry.values('othersBusy')):.2f}",
            str(len(values)),
        ]
        result.append("| " + " | ".join(cells) + " |")
    return result


def markdown(lines: list[dict]) -> str:
    items = list(dict.fromkeys(line["item"] for line in lines if "item" in line))
    head = next(line for line in lines if line["kind"] == "run")
    machine = head["machine"]
    text = [
        f"{machine.get('processor', 'unknown processor')}, {machine['cores']} cores, "
        f"{head['threads']} threads, {head['run']}, revision {head['revision']}",
        "",
    ]
    for item in items:
        unit = "tokens/s" if item.startswith("decode") else "seconds"
        text += [
            f"### {item.replace(':', ' ')}",
            "",
            f"| | precision | {unit}: median (min–max) | ours / peer | % of limit "
            "| CPU s | others | rounds |",
            "|---|---|---|---:|---:|---:|---:|---:|",
            *rows(lines, item),
            "",
        ]
        peak = peaks(lines, item)
        if peak:
            text += ["Peaks: " + ", ".join(f"{key} {value:.1f}" for key, value in peak.items()), ""]
        for line in lines:
            if line["kind"] == "skipped" and line["item"] == item:
                text.append(f"- {line['contestant']} {line['precision']} skipped: {line['reason']}")
        if text[-1].startswith("- "):
            text.append("")
    versions = {line["contestant"].split(" ")[0]: line["version"] for line in lines if "version" in line}
    if versions:
        text += ["Versions: " + ", ".join(f"{name} {version}" for name, version in versions.items()), ""]
    return "\n".join(text)


def read(file: Path, run: str | None = None) -> list[dict]:
    """The lines of one run, by default the last."""
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    if not lines:
        raise SystemExit(f"{file} is empty")
    name = run or lines[-1]["run"]
    return [line for line in lines if line["run"] == name]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = contestants.ROOT / "downloads" / "bench" / "rounds.jsonl"
    parser.add_argument("rounds", type=Path, nargs="?", default=default)
    parser.add_argument("--run", help="its time, as in the lines")
    options = parser.parse_args()
    print(markdown(read(options.rounds, options.run)))


if __name__ == "__main__":
    main()
