#!/usr/bin/env python3
"""Measures every precision on real language weights, beside llama.cpp: `make verify-real`.

The truth is transformers in float32 on the same float32 weights (real_checkpoint.py says which). Of 40 windows of
a text, 512 tokens each with nothing before them:

  perplexity ÷ float32   e to the mean difference of the tokens' negative log-likelihoods, ± its standard error
  mean KL                divergence of the next-token distribution from float32's, over all positions
  same first             positions at which the likeliest token is the same

And of 50 prompts, answered greedily: how many answers of 128 tokens (or to their end) are the same, and by how much
float32 prefers its own token at the first one that differs (the largest such margin: a small one is a tie).

Ends with status 1 if a precision is further off than its floor, or 4 bits than llama.cpp's Q4_0.
"""

import argparse
import json
import math
import sys
import time
from pathlib import Path

import contestants
import numpy as np
import real_checkpoint

ROOT = Path(__file__).resolve().parents[1]
WINDOW, WINDOWS, TOKENS = 512, 40, 128
# Perplexity ÷ float32, mean KL, largest margin of a difference: beyond these the run fails.
FLOORS = {
    "float32": (1.0001, 1e-6, 0.001),
    "bfloat16": (1.003, 1e-3, 0.25),
    "int8": (1.01, 6e-3, math.inf),
    "int8-quantized": (1.01, 6e-3, math.inf),
}
# 4 bits are held against llama.cpp's, where it is measured: perplexity within this factor, and no more divergence.
RIVAL, RIVAL_FACTOR = "q4_0", 1.005


class Divergence:
    """What a contestant says of the text, beside the truth."""

    def __init__(self):
        self.truth, self.own, self.divergence, self.same = [], [], [], []

    def add(self, truth: np.ndarray, logits: np.ndarray, targets: list[int]) -> None:
        """`truth`: logarithms of probabilities."""
        import torch

        expected, found = torch.from_numpy(truth), torch.from_numpy(logits).log_softmax(1)
        wanted = torch.tensor(targets)[:, None]
        self.truth += (-expected.gather(1, wanted)[:, 0]).tolist()
        self.own += (-found.gather(1, wanted)[:, 0]).tolist()
        self.same += (expected.argmax(1) == found.argmax(1)).tolist()
        products = expected.exp() * (expected - found)
        self.divergence += products.sum(1, dtype=torch.float64).tolist()

    def figures(self) -> dict:
        difference = np.array(self.own) - np.array(self.truth)
        ratio = float(np.exp(difference.mean()))
        return {
            "tokens": len(self.own),
            "perplexity": float(np.exp(np.mean(self.own))),
            "ratio": ratio,
            "ratioError": ratio * float(difference.std(ddof=1)) / len(difference) ** 0.5,
            "meanDivergence": float(np.mean(self.divergence)),
            "divergence99": float(np.quantile(self.divergence, 0.99)),
            "sameFirst": float(np.mean(self.same)),
        }


def agreement(truth: list[list[int]], scores: list[np.ndarray], answers: list[list[int]], end: int) -> dict:
    same, margins, matched = 0, [], []
    for expected, steps, answer in zip(truth, scores, answers, strict=True):
        length = expected.index(end) + 1 if end in expected else len(expected)
        pairs = zip(expected[:length], answer[:length], strict=True)
        first = next((index for index, (a, b) in enumerate(pairs) if a != b), None)
        matched.append((length if first is None else first) / length)
        if first is None:
            same += 1
        else:
            margins.append(float(steps[first][expected[first]] - steps[first][answer[first]]))
    return {
        "answers": len(truth),
        "sameAnswers": same,
        "largestMargin": max(margins, default=0.0),
        "medianMargin": float(np.median(margins)) if margins else 0.0,
        "sharedBeginning": float(np.mean(matched)) if matched else 0.0,
    }


def competitors(options, folder: Path):
    """Name, bits per weight (of files), the contestant; one is open at a time."""
    for kind in options.precisions:
        contestant = contestants.Ours(options.program, folder, kind, options.threads)
        bits = None
        if kind.endswith("-quantized"):
            precision = kind.removesuffix("-quantized")
            bits = contestants.packed_bits(folder.with_name(f"{folder.name}-{precision}"))
        yield kind, bits, contestant
    try:
        import llama_cpp
    except (ImportError, RuntimeError) as error:
        print(f"llama.cpp is skipped: llama-cpp-python is not installed here ({error})", file=sys.stderr)
        return
    for kind in options.llama:
        file = contestants.llama_file(folder, kind, options.threads)
        contestant = contestants.Llama(llama_cpp, file, kind, options.threads, 2 * WINDOW)
        yield kind, contestants.bits_per_weight(file), contestant


def measure(options, variant: str) -> list[dict]:
    from tokenizers import Tokenizer

    downloads = options.downloads
    folder = real_checkpoint.make(downloads, variant)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids = tokenizer.encode(real_checkpoint.text(downloads), add_special_tokens=False).ids
    windows = [ids[start : start + WINDOW + 1] for start in range(0, options.windows * WINDOW, WINDOW)]
    prompts = [tokenizer.encode(p, add_special_tokens=False).ids for p in real_checkpoint.prompts()]
    prompts = prompts[: options.prompts]
    end = tokenizer.token_to_id("<|im_end|>")

    note(f"{variant}: transformers float32, {len(windows)} windows and {len(prompts)} answers")
    reference = contestants.Transformers(folder)
    rows = tokenizer.get_vocab_size()
    # 4 GB, for every contestant in turn.
    kept = np.empty((len(windows), WINDOW, rows), np.float32)
    for index, window in enumerate(windows):
        kept[index] = reference.log_probabilities(window[:-1])
    truth, scores = reference.answers(prompts, TOKENS) if prompts else ([], [])
    results = []
    for kind, bits, contestant in competitors(options, folder):
        start = time.monotonic()
        divergence = Divergence()
        for index, window in enumerate(windows):
            divergence.add(kept[index], contestant.logits(window[:-1]), window[1:])
        answers = [contestant.greedy(prompt, TOKENS) for prompt in prompts]
        contestant.close()
        result = {"variant": variant, "program": contestant.name, "kind": kind, "bitsPerWeight": bits}
        result |= divergence.figures() | agreement(truth, scores, answers, end)
        note(f"{variant}: {contestant.name}, {time.monotonic() - start:.0f} s: {json.dumps(result)}")
        results.append(result)
    first = {"variant": variant, "program": "transformers float32", "kind": "truth"}
    own = [kept[index, np.arange(WINDOW), window[1:]] for index, window in enumerate(windows)]
    first["perplexity"] = float(np.exp(-np.mean(own, dtype=np.float64)))
    return [first, *results]


def note(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


def table(results: list[dict]) -> str:
    lines = [
        "| weights | program | perplexity | ÷ float32 | mean KL | same first | same answers | largest margin |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in results:
        start = f"| {row['variant']} | {row['program']}"
        if row.get("bitsPerWeight"):
            start += f" ({row['bitsPerWeight']:.1f} bits)"
        if row["kind"] == "truth":
            lines.append(f"{start} | {row['perplexity']:.4f} | | | | | |")
            continue
        lines.append(
            f"{start} | {row['perplexity']:.4f} | {row['ratio']:.4f} ± {row['ratioError']:.4f} "
            f"| {row['meanDivergence']:.2g} | {100 * row['sameFirst']:.1f} % "
            f"| {row['sameAnswers']} of {row['answers']} | {row['largestMargin']:.2g} |"
        )
    return "\n".join(lines)


def failures(results: list[dict]) -> list[str]:
    found = []
    for row in results:
        if not row["program"].startswith("fastvlm") or row["kind"] not in FLOORS:
            continue
        limits = zip(("ratio", "meanDivergence", "largestMargin"), FLOORS[row["kind"]], strict=True)
        found += [
            f"{row['variant']} {row['kind']}: {name} {row[name]:.6g}, floor {floor}"
            for name, floor in limits
            if row[name] > floor
        ]
    rivals = {row["variant"]: row for row in results if row["kind"] == RIVAL}
    for row in results:
        rival = rivals.get(row["variant"])
        if not row["kind"].startswith("int4") or rival is None:
            continue
        for name, factor in (("ratio", RIVAL_FACTOR), ("meanDivergence", 1)):
            if row[name] > rival[name] * factor:
                found.append(f"{row['variant']} {row['kind']}: {name} {row[name]:.6g}, {RIVAL} {rival[name]:.6g}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--program", type=Path, default=ROOT / ".build" / "release" / "fastvlm")
    parser.add_argument("--downloads", type=Path, default=ROOT / "downloads")
    parser.add_argument(
        "--variants", nargs="+", choices=real_checkpoint.VARIANTS, default=real_checkpoint.VARIANTS
    )
    parser.add_argument("--precisions", nargs="*", default=contestants.PRECISIONS)
    parser.add_argument("--llama", nargs="*", default=contestants.LLAMA_KINDS, help="kinds of files")
    parser.add_argument("--windows", type=int, default=WINDOWS, help=f"of {WINDOW} tokens")
    parser.add_argument("--prompts", type=int, default=50)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, help="JSON (default: real/results.json under --downloads)")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    results = [row for variant in options.variants for row in measure(options, variant)]
    output = options.output or options.downloads / "real" / "results.json"
    output.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))
    found = failures(results)
    if found:
        raise SystemExit("\n".join(found))


if __name__ == "__main__":
    main()
