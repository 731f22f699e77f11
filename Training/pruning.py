"""Fewer visual tokens two ways, smaller images and `--prune` behind the encoder: held-out accuracy, and time.

    python pruning.py --suite data/suite-512 --out runs/pruning

Every question of the suite goes through `fastvlm batch` once for each way, greedy; answers must be exactly right.
Answers are kept, so a killed run goes on where it was; those of another suite, model or runtime are not mixed with
them. Times are of one question after the other on one thread, the ways in turns: the medians of encoder, projector
with pruning, and decoder over the prompt.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys

import evaluate

METHODS = ["average", "merge", "select"]


def ways() -> list[tuple[str, list[str], int]]:
    """Name, options and visual tokens: an image as it is, then for each smaller one, the same number by pruning."""
    found = [("512²", ["--resolution", "512"], 64)]
    for side, tokens in ((384, 36), (256, 16)):
        found.append((f"{side}²", ["--resolution", str(side)], tokens))
        for method in METHODS:
            prune = f"{method}:{tokens}"
            found.append((f"512², {prune}", ["--resolution", "512", "--prune", prune], tokens))
    return found


WAYS = ways()
STAGES = ["encode", "project", "prefill"]


def ask(fastvlm: str, suite: pathlib.Path, questions: pathlib.Path, options: list[str], out: pathlib.Path) -> None:
    command = [fastvlm, "batch", str(questions), "-o", str(out), "--image-root", str(suite), "--quiet"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command + options)}: {done.stderr.strip()}")


def read(out: pathlib.Path) -> dict[str, dict]:
    return {line["id"]: line for line in map(json.loads, out.read_text().splitlines())}


def write_questions(items: dict[str, dict], file: pathlib.Path) -> None:
    lines = [
        {"id": name, "image": item["image"], "question": item["text"], "max_tokens": 64}
        for name, item in items.items()
    ]
    file.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def slug(name: str) -> str:
    return name.replace("²", "").replace(", ", "-").replace(":", "-")


def measure(args: argparse.Namespace) -> None:
    tasks = sorted((file.stem for file in args.suite.glob("*.jsonl")), key=evaluate.order)
    items = {}
    for task in tasks:
        for line in (args.suite / f"{task}.jsonl").read_text().splitlines()[: args.most]:
            item = json.loads(line)
            items[f"{task}/{item['question_id']}"] = item
    args.out.mkdir(parents=True, exist_ok=True)
    write_questions(items, args.out / "questions.jsonl")
    model = ["--model", str(args.model), "--precision", args.precision]
    basis = evaluate.basis(args.suite, args.model, args.fastvlm, [*model, str(args.most)])
    mark = args.out / "basis.json"
    if mark.exists() and json.loads(mark.read_text()) != basis:
        raise ValueError(f"{args.out} has answers of another suite, model or runtime: remove it, or name another --out")
    mark.write_text(json.dumps(basis, indent=1) + "\n")
    columns = {}
    for name, options, tokens in WAYS:
        out = args.out / f"{slug(name)}.jsonl"
        ask(args.fastvlm, args.suite, args.out / "questions.jsonl", [*model, *options, "--resume"], out)
        answers: dict[str, list[dict]] = {task: [] for task in tasks}
        for key, line in read(out).items():
            if line["usage"]["prompt_tokens_details"]["image_tokens"] != tokens:
                raise ValueError(f"{name}: {key} had another number of visual tokens than {tokens}")
            item = items[key]
            answers[item["category"]].append({**item, "said": line["text"], "right": line["text"] == item["answer"]})
        columns[name] = evaluate.scores(answers)
        print(f"{name}: {sum(a['right'] for lines in answers.values() for a in lines)} of {len(items)}", flush=True)
    times = time(args, items, model)
    (args.out / "scores.json").write_text(json.dumps({"scores": columns, "seconds": times}, indent=1) + "\n")
    print(table(columns, times, tasks))


def time(args: argparse.Namespace, items: dict[str, dict], model: list[str]) -> dict[str, dict[str, float]]:
    """Medians of each stage, in seconds."""
    few = dict(list(items.items())[: args.timed])
    write_questions(few, args.out / "timed.jsonl")
    found: dict[str, dict[str, list[float]]] = {name: {stage: [] for stage in STAGES} for name, _, _ in WAYS}
    for _ in range(args.rounds):
        for name, options, _ in WAYS:
            out = args.out / "timed-answers.jsonl"
            out.unlink(missing_ok=True)
            alone = [*model, *options, "--threads", "1", "--parallel", "1"]
            ask(args.fastvlm, args.suite, args.out / "timed.jsonl", alone, out)
            for line in read(out).values():
                for stage in STAGES:
                    found[name][stage].append(line["timings"][stage])
            out.unlink()
    return {name: {stage: statistics.median(found[name][stage]) for stage in STAGES} for name in found}


def table(columns: dict, times: dict, tasks: list[str]) -> str:
    first = [task for task in tasks if task in evaluate.FIRST_TIER]
    rows = [
        "| way | tokens | " + " | ".join(tasks) + " | mean of the first six | encode | project, prune | prefill |",
        "|---|---:|" + "---:|" * (len(tasks) + 4),
    ]
    for name, _, tokens in WAYS:
        scores = columns[name]
        cells = [f"{scores[task]['exact']:.1f}" for task in tasks]
        mean = sum(scores[task]["exact"] for task in first) / max(len(first), 1)
        cells += [f"{mean:.1f}", *(f"{1000 * times[name][stage]:.2f} ms" for stage in STAGES)]
        rows.append(f"| {name} | {tokens} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", type=pathlib.Path, required=True)
    parser.add_argument("--model", type=pathlib.Path, default=evaluate.ROOT / "Models/fastvlm-small")
    parser.add_argument("--fastvlm", default=str(evaluate.ROOT / ".build/release/fastvlm"))
    parser.add_argument("--precision", default="bfloat16")
    parser.add_argument("--most", type=int, default=10**9, help="items per task")
    parser.add_argument("--timed", type=int, default=100, help="items that are timed")
    parser.add_argument("--rounds", type=int, default=3, help="of timing")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for the answers")
    args = parser.parse_args()
    try:
        measure(args)
    except (ValueError, OSError, RuntimeError, KeyError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
