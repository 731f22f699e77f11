#!/usr/bin/env python3
"""Ours and the peers in turns within one run, on this machine; see Benchmarks/README.md.

For each item all contestants load and warm up, then wait asleep; each round gives every one of them one
repetition, beginning with another one each time. Every repetition is written to --output as a JSON line at
once; the Markdown table (report.py makes it again from the file) goes to stdout.

Items: encoder:SIDE, prefill:POSITIONS, decode:CONTEXT, ttft:SIDE, cold:SIDE (process start to first token),
second:SIDE (another question about the image), encoder-threads:SIDE, prefill-threads:POSITIONS (one thread
against all). A contestant that cannot run is named with its reason. At the end gates.py holds the figures
against the project's targets and floors; below a floor the exit status is 3.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import contestants
import gates
import report
from contestants import ROOT, Cold, Contestant, Skipped

ITEMS = [
    "encoder:256",
    "encoder:512",
    "encoder:768",
    "encoder:1024",
    "prefill:286",
    "prefill:606",
    "decode:286",
]
ITEMS += ["ttft:1024", "cold:1024", "second:1024", "encoder-threads:1024", "prefill-threads:286"]
# Rounds where --rounds does not say: a repetition of the small ones is short, and a median of few of them moves by
# a fifth with what else the machine does.
ROUNDS = {"encoder:256": 25, "encoder:512": 11}
USUAL_ROUNDS = 5


class Run:
    """Writes what happens."""

    def __init__(self, output: Path, options):
        output.parent.mkdir(parents=True, exist_ok=True)
        self.file = output.open("a", buffering=1)
        self.name = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.lines: list[dict] = []
        files = options.checkpoint.glob("*.safetensors")
        self.add(
            "run",
            machine=machine(),
            threads=options.threads,
            revision=revision(),
            checkpointBytes=sum(file.stat().st_size for file in files if file.stem != "expected"),
        )

    def add(self, kind: str, **values) -> None:
        line = {"kind": kind, "run": self.name, **values}
        self.lines.append(line)
        self.file.write(json.dumps(line) + "\n")


def machine() -> dict:
    names = {"model name": "processor", "flags": "flags"}
    facts = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() in names:
            facts.setdefault(names[key.strip()], value.strip())
    shown = ("avx", "fma", "f16c", "amx", "bf16", "i8mm", "asimd")
    facts["flags"] = [flag for flag in facts.get("flags", "").split() if flag.startswith(shown)]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return facts | {"cores": os.cpu_count(), "memoryBytes": memory, "system": platform.release()}


def revision() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return answer.stdout.strip()


def lineup(options, kind: str, size: int) -> list[Contestant]:
    if kind == "cold":
        whole = [one for one in lineup(options, "ttft", size) if one.name in ("fastvlm", "transformers")]
        return [Cold(one) for one in whole]
    mine = [] if options.no_ours else contestants.ours(options, kind, size)
    length = ["--positions", str((size // 64) ** 2 + 30)] if kind == "ttft" else []
    others = contestants.peers(options, kind, size, length)
    probes = [] if options.no_ours or options.no_peak else contestants.probes(options, kind)
    return mine + others + probes


def enter(run: Run, options, item: str, everyone: list[Contestant], log) -> list[Contestant]:
    """Starts them one after the other; those that start. Peers get as long a prompt as ours has (ttft)."""
    started, prompt = [], None
    for contestant in everyone:
        about = {"item": item, "contestant": contestant.name, "precision": contestant.precision}
        if prompt and not contestant.ours and "--positions" in contestant.command:
            contestant.command[contestant.command.index("--positions") + 1] = str(prompt)
        try:
            ready = contestant.start(log, options.start_timeout)
        except Skipped as reason:
            run.add("skipped", **about, reason=str(reason))
            print(f"{item} {contestant.label}: skipped: {reason}", file=sys.stderr)
            continue
        prompt = prompt or ready.get("settings", {}).get("promptTokens")
        keys = ("version", "settings", "secondsToReady")
        run.add("ready", **about, ours=contestant.ours, **{key: ready[key] for key in keys if key in ready})
        print(f"{item} {contestant.label}: ready after {ready['secondsToReady']:.1f} s", file=sys.stderr)
        started.append(contestant)
    return started


def compare(run: Run, options, item: str, log) -> None:
    kind, _, size = item.partition(":")
    everyone = lineup(options, kind, int(size))
    try:
        playing = enter(run, options, item, everyone, log)
        for index in range(options.rounds or ROUNDS.get(item, USUAL_ROUNDS)):
            first = index % max(1, len(playing))
            for contestant in [*playing[first:], *playing[:first]]:
                about = {"item": item, "contestant": contestant.name, "precision": contestant.precision}
                try:
                    figures = contestant.measure(options.round_timeout)
                except Skipped as reason:
                    run.add("skipped", **about, reason=str(reason))
                    print(f"{item} {contestant.label}: out: {reason}", file=sys.stderr)
                    playing = [other for other in playing if other is not contestant]
                    continue
                load = os.getloadavg()[0]
                run.add("round", **about, ours=contestant.ours, round=index, load=load, **figures)
    finally:
        for contestant in everyone:
            contestant.stop()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    downloads = ROOT / "downloads"
    parser.add_argument("items", nargs="*", metavar="ITEM", help=f"default: {' '.join(ITEMS)}")
    usual = [f"{rounds} for {item}" for item, rounds in ROUNDS.items()]
    parser.add_argument("--rounds", type=int, help=f"default: {USUAL_ROUNDS}, {', '.join(usual)}")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--peers", nargs="+", metavar="WORD", help='only those with a WORD in "name precision"'
    )
    parser.add_argument("--ours", nargs="+", metavar="PRECISION", help="default: all that the item has")
    parser.add_argument("--no-ours", action="store_true", help="the peers alone")
    parser.add_argument("--no-peak", action="store_true", help="do not measure the machine's peaks")
    parser.add_argument("--force", action="store_true", help="peers also without fitting instructions")
    parser.add_argument("--program", type=Path, default=ROOT / ".build" / "release" / "fastvlm")
    parser.add_argument(
        "--ours-arguments", default="", help="further arguments of `fastvlm bench`, one string"
    )
    parser.add_argument("--python", type=Path, default=contestants.python_default(), help="with the peers")
    parser.add_argument("--checkpoint", type=Path, default=downloads / "fastvlm-0.5b-random")
    parser.add_argument("--models", type=Path, default=downloads / "peers", help="what make_models.py wrote")
    parser.add_argument("--output", type=Path, default=downloads / "bench" / "rounds.jsonl")
    parser.add_argument("--table", type=Path, help="also write the Markdown table to this file")
    parser.add_argument("--start-timeout", type=float, default=600, help="seconds until ready")
    parser.add_argument("--round-timeout", type=float, default=120, help="seconds for one repetition")
    options = parser.parse_args()

    for item in options.items or ITEMS:
        kind, _, size = item.partition(":")
        if kind not in (*contestants.PEERS, "cold") or not size.isdigit():
            parser.error(
                f"{item}: items are {', '.join(f'{kind}:NUMBER' for kind in (*contestants.PEERS, 'cold'))}"
            )
    options.output = options.output.resolve()
    run = Run(options.output, options)
    with options.output.with_suffix(".log").open("a") as log:
        for item in options.items or ITEMS:
            compare(run, options, item, log)
    verdicts = gates.judge(run.lines)
    table = report.markdown(run.lines) + "\n" + gates.markdown(verdicts)
    print(table)
    if options.table:
        options.table.write_text(table)
    if any(verdict.failed for verdict in verdicts):
        sys.exit(3)


if __name__ == "__main__":
    main()
