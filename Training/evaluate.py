"""Puts the held-out suite to the Swift runtime and prints a table per task.

    python evaluate.py --suite data/suite-512 --model ../Models/fastvlm-small --out runs/evaluation

Every question is one `fastvlm describe --json`, greedy. Answers must be exactly right. Answers are kept, so a
killed evaluation goes on where it was; those of another suite, model or runtime are not mixed with them. With several
--precision or --resolution, one column each; with float32 among the precisions, a second table says how far the
others' first token is from its.
"""

import argparse
import concurrent.futures
import hashlib
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.parent
FIRST_TIER = ["naming", "counting", "existence", "color-shape", "relations", "reading"]
ALTERNATIVES = 20  # as many as the runtime reports
# What a useful small model should reach, in percent.
WANTED = {"naming": 95, "counting": 90, "existence": 93, "color-shape": 95, "relations": 90, "reading": 80}


def distance(one: str, two: str) -> int:
    """Insertions, deletions and substitutions from one text to the other."""
    row = list(range(len(two) + 1))
    for i, a in enumerate(one, 1):
        last, row[0] = row[0], i
        for j, b in enumerate(two, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (a != b))
    return row[-1]


def answer(command: list[str], suite: pathlib.Path, item: dict) -> dict:
    asked = [command[0], "describe", str(suite / item["image"]), "--prompt", item["text"], *command[1:]]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(f"{' '.join(asked)}: {done.stderr.strip()}")
    said = json.loads(done.stdout.splitlines()[-1])
    first = {str(t["id"]): t["log_probability"] for t in (said.get("tokens") or [{}])[0].get("alternatives", [])}
    return {**item, "said": said["text"], "right": said["text"] == item["answer"], "first": first}


def digest(path: pathlib.Path) -> str:
    """Of a file, or of a folder's files but for its notes; of the name itself where nothing is."""
    found = hashlib.sha256()
    for file in sorted(p for p in path.iterdir() if p.suffix != ".md") if path.is_dir() else [path]:
        found.update(file.name.encode())
        if file.is_file():
            with open(file, "rb") as opened:
                found.update(hashlib.file_digest(opened, "sha256").digest())
    return found.hexdigest()


def basis(suite: pathlib.Path, model: pathlib.Path, fastvlm: str, options: list[str]) -> dict[str, str]:
    """What answers depend on."""
    runtime = pathlib.Path(shutil.which(fastvlm) or fastvlm)
    found = {"suite": (suite / "sha256").read_text().strip(), "model": digest(model), "runtime": digest(runtime)}
    return found | {"options": " ".join(options)}


def kept(out: pathlib.Path, of: dict[str, str]) -> list[dict]:
    """The answers that are in `out` already, without a last one that was cut short."""
    mark = out.with_suffix(".json")
    if not out.exists():
        mark.write_text(json.dumps(of, indent=1) + "\n")
        return []
    before = json.loads(mark.read_text()) if mark.exists() else {}
    if other := [name for name in of if of[name] != before.get(name)]:
        raise ValueError(f"{out} has answers of another {' and another '.join(other)}: remove it, or name another --out")
    *lines, cut = out.read_text().split("\n")
    if cut:
        part = out.with_suffix(".part")
        part.write_text("".join(line + "\n" for line in lines))
        os.replace(part, out)
    return [json.loads(line) for line in lines]


def run(
    suite: pathlib.Path, tasks: list[str], command: list[str], out: pathlib.Path, jobs: int, most: int, of: dict
) -> dict:
    """The answers of every task, taken from `out` where they are there already. `of`: what they depend on."""
    out.parent.mkdir(parents=True, exist_ok=True)
    known = {(line["category"], line["question_id"]): line for line in kept(out, of)}
    found: dict[str, list[dict]] = {}
    with open(out, "a") as file, concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for task in tasks:
            items = [json.loads(line) for line in (suite / f"{task}.jsonl").read_text().splitlines()][:most]
            new = [item for item in items if (task, item["question_id"]) not in known]
            for line in pool.map(lambda item: answer(command, suite, item), new):
                known[task, line["question_id"]] = line
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
                file.flush()
            found[task] = [known[task, item["question_id"]] for item in items]
    return found


def scores(answers: dict[str, list[dict]]) -> dict[str, dict[str, float]]:
    out = {}
    for task, lines in answers.items():
        out[task] = {"exact": 100 * sum(line["right"] for line in lines) / len(lines), "items": len(lines)}
        if task in ("reading", "lines"):
            wrong = sum(distance(line["said"], line["answer"]) for line in lines)
            out[task]["characters"] = 100 * wrong / sum(len(line["answer"]) for line in lines)
            # Numbers of one or two characters are in training as well: there are only a hundred.
            new = [line["right"] for line in lines if len(line["answer"]) > 2]
            out[task]["unseen"] = 100 * sum(new) / max(1, len(new))
    return out


def divergence(p: dict, q: dict) -> float:
    """Kullback-Leibler divergence of q from p over the tokens that both list, and all others as one; a lower bound."""
    both = [token for token in p if token in q]
    pairs = [(math.exp(p[token]), math.exp(q[token])) for token in both]
    rest = [max(1e-12, 1 - sum(pair[i] for pair in pairs)) for i in range(2)]
    return max(0.0, sum(a * math.log(a / b) for a, b in [*pairs, tuple(rest)]))


def agreement(reference: dict[str, list[dict]], other: dict[str, list[dict]]) -> dict[str, float]:
    """How near the first token's distribution and the answers are to the reference's, in percent and nats."""
    pairs = [pair for task in reference for pair in zip(reference[task], other[task], strict=True)]
    distances = sorted(divergence(a["first"], b["first"]) for a, b in pairs)
    return {
        "first": 100 * sum(next(iter(a["first"])) == next(iter(b["first"])) for a, b in pairs) / len(pairs),
        "answer": 100 * sum(a["said"] == b["said"] for a, b in pairs) / len(pairs),
        "divergence": sum(distances) / len(distances),
        "divergence_99": distances[round(0.99 * (len(distances) - 1))],
    }


def agreements(columns: dict[str, dict[str, list[dict]]]) -> dict[str, dict[str, float]]:
    """Each precision against float32 at the same resolution, where all answers carry their first token."""
    found = {}
    for name, answers in columns.items():
        precision, _, place = name.partition(" ")
        reference = columns.get(" ".join(filter(None, ["float32", place])))
        if precision != "float32" and reference is not None:
            if all(line.get("first") for lines in (*answers.values(), *reference.values()) for line in lines):
                found[name] = agreement(reference, answers)
    return found


def failures(suite: pathlib.Path, answers: dict[str, list[dict]], path: pathlib.Path, each: int = 2) -> None:
    """A picture of wrongly answered items: image, question, what was right, what was said."""
    from PIL import Image, ImageDraw

    wrong = [line for lines in answers.values() for line in [x for x in lines if not x["right"]][:each]]
    if not wrong:
        return
    side, text, columns = 256, 44, 4
    sheet = Image.new("RGB", (columns * side, -(-len(wrong) // columns) * (side + text)), "white")
    draw = ImageDraw.Draw(sheet)
    for i, line in enumerate(wrong):
        x, y = i % columns * side, i // columns * (side + text)
        with Image.open(suite / line["image"]) as image:
            sheet.paste(image.resize((side, side)), (x, y))
        said = f"{line['said'][:28]}  (right: {line['answer'][:24]})"
        draw.text((x + 4, y + side + 4), f"{line['text'][:42]}\n{said}", fill="black")
    sheet.save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--suite", type=pathlib.Path, required=True)
    parser.add_argument("--model", type=pathlib.Path, default=ROOT / "Models/fastvlm-small")
    parser.add_argument("--fastvlm", default=str(ROOT / ".build/release/fastvlm"))
    parser.add_argument("--precision", nargs="+", default=["bfloat16"])
    parser.add_argument("--resolution", nargs="+", type=int, default=[0], help="0: the checkpoint's own")
    parser.add_argument("--tasks", nargs="+")
    parser.add_argument("--most", type=int, default=10**9, help="items per task")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for the answers")
    args = parser.parse_args()
    try:
        evaluate(args)
    except (ValueError, OSError, RuntimeError) as error:
        sys.exit(f"error: {error}")


def evaluate(args: argparse.Namespace) -> None:
    tasks = args.tasks or sorted((p.stem for p in args.suite.glob("*.jsonl")), key=order)
    answered = {}
    for precision in args.precision:
        for side in args.resolution:
            name = precision + (f" at {side}" if side else "")
            options = ["--json", "--quiet", "--temperature", "0", "--threads", "1", "--max-tokens", "64"]
            options += ["--precision", precision, "--logprobs", str(ALTERNATIVES)]
            options += ["--resolution", str(side)] if side else []
            command = [args.fastvlm, "--model", str(args.model), *options]
            file = args.out / f"{name.replace(' ', '-')}.jsonl"
            of = basis(args.suite, args.model, args.fastvlm, options)
            answers = run(args.suite, tasks, command, file, args.jobs, args.most, of)
            answered[name] = answers
            failures(args.suite, answers, args.out / f"failures-{name.replace(' ', '-')}.png")
    suite = (args.suite / "sha256").read_text().strip()
    columns, near = {name: scores(answers) for name, answers in answered.items()}, agreements(answered)
    written = {"suite": suite, "scores": columns, "agreement": near}
    (args.out / "scores.json").write_text(json.dumps(written, indent=1) + "\n")
    print(table(columns, tasks))
    if near:
        print(
            "\n| against float32 | first token | answer | divergence of the first token, mean | 99 % below |\n|---|---|---|---|---|"
        )
        for name, row in near.items():
            print(
                f"| {name} | {row['first']:.1f} % | {row['answer']:.1f} % | {row['divergence']:.1e} | {row['divergence_99']:.1e} |"
            )
    print(f"\nsuite {suite[:16]}")


def order(task: str) -> tuple[int, str]:
    return (FIRST_TIER.index(task) if task in FIRST_TIER else 99, task)


def table(columns: dict, tasks: list[str]) -> str:
    rows = [
        "| task | items | " + " | ".join(columns) + " | tier 1 |",
        "|---|---|" + "---|" * (len(columns) + 1),
    ]
    first = next(iter(columns.values()))
    for task in tasks:
        cells = []
        for found in columns.values():
            cell = f"{found[task]['exact']:.1f} %"
            if "characters" in found[task]:
                cell += f" ({found[task]['unseen']:.1f} % right of those longer than two characters, "
                cell += f"{found[task]['characters']:.1f} % of characters wrong)"
            cells.append(cell)
        wanted = f"{WANTED[task]} %" if task in WANTED else ""
        rows.append(f"| {task} | {first[task]['items']} | " + " | ".join(cells) + f" | {wanted} |")
    if all(task in first for task in FIRST_TIER):
        means = [f"{sum(found[t]['exact'] for t in FIRST_TIER) / 6:.1f} %" for found in columns.values()]
        rows.append("| **mean of the first six** | | " + " | ".join(means) + " | 75 % |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
