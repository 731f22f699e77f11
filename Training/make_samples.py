"""Chooses held-out images that the exported model answers right, and writes Samples/questions.tsv.

They are chosen for right answers, so they say nothing about accuracy: the model card does. Of a kind without a
rightly answered image one is kept all the same, without a question, and what the model says about it is printed.
"""

import argparse
import pathlib
import random
import re
import subprocess
import sys

from synth import documents, questions, world
from synth.scenes import Painter

ROOT = pathlib.Path(__file__).parent.parent
# name of the sample's kind -> (family, tasks to ask, how many images)
WANTED = {
    "single": ("single", ["name", "describe", "ground", "exists"], 2),
    "count": ("group", ["count", "exists", "these"], 2),
    "pair": ("pair", ["side", "beside", "bigger", "describe"], 2),
    "shapes": ("shapes", ["color", "shape", "count"], 1),
    "word": ("word", ["read", "describe", "text"], 2),
    "number": ("word", ["read", "describe", "text"], 1),
    "receipt": ("receipt", ["total", "price", "items"], 1),
    "chart": ("bars", ["largest", "value", "kind"], 1),
}


def plain(scene: dict, task: str, rng: random.Random) -> tuple[str, str] | None:
    """The question in its first phrasing, and its answer."""
    if "facts" in scene:
        found = next((fact for fact in scene["facts"] if fact[0] == task), None)
        return found and (documents.PHRASINGS[task][0][0].format(**found[1]), found[2])
    facts = questions.Facts(scene)
    if task not in facts.possible():
        return None
    kept = questions.PHRASINGS[task], questions.ENDINGS
    questions.PHRASINGS[task], questions.ENDINGS = ([kept[0][0][0]], []), [""]
    try:
        return questions.ask(facts, task, rng, want="Yes." if task == "exists" else None)
    finally:
        questions.PHRASINGS[task], questions.ENDINGS = kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--fastvlm", default=str(ROOT / ".build/release/fastvlm"))
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "Samples")
    parser.add_argument("--tries", type=int, default=40, help="images of a kind before it is given up")
    parser.add_argument("--precisions", nargs="+", default=["bfloat16", "float32"])
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    held = {"invented": 0, "held": True}
    painter, rng = Painter(950_000, world.words()[1], **held), random.Random(1)
    printer = Painter(950_001, world.words()[1], side=512, **held)  # small print needs the larger size

    def said(path: pathlib.Path, question: str, precision: str) -> str:
        command = [args.fastvlm, "describe", str(path), "--prompt", question, "--model", str(args.model)]
        command += ["--quiet", "--temperature", "0", "--precision", precision]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def right(path: pathlib.Path, question: str, answer: str) -> bool:
        return all(said(path, question, precision) == answer for precision in args.precisions)

    def save(image, name: str) -> pathlib.Path:
        """PNG, or JPEG where that would be large."""
        path = args.out / f"{name}.png"
        image.save(path, optimize=True)
        if path.stat().st_size > 30_000:
            path.unlink()
            path = path.with_suffix(".jpg")
            image.save(path, quality=90)
        return path

    rows, used = [], set()
    for kind, (family, tasks, wanted) in WANTED.items():
        found, missed = 0, None
        for _ in range(args.tries):
            if found == wanted:
                break
            sheet = family in documents.KINDS
            image, scene = documents.paint(printer, family) if sheet else painter.paint(family)
            pairs = [pair for task in tasks if (pair := plain(scene, task, rng))]
            facts = questions.Facts(scene)
            if sheet:
                word = scene["facts"][0][2]
            else:
                word = facts.texts[0]["text"] if facts.texts else questions.noun(facts.order[0])
            unfit = {
                "count": not facts.count or facts.count[facts.order[0]] < 4,
                "word": len(word) < 4 or not word.isalpha(),
                "number": not word[-1].isdigit(),
            }
            if unfit.get(kind) or word in used or len(pairs) < 2:
                continue
            name = f"{kind}-{re.sub('[^a-z0-9]+', '-', word.lower()).strip('-')}"
            path = save(image, name)
            good = [pair for pair in pairs if right(path, *pair)]
            if pairs[0] not in good or len(good) < 2:
                path.unlink()
                missed = missed or (image, name, pairs)
                continue
            rows += [(path.name, *pair) for pair in good]
            used.add(word)
            found += 1
        print(f"{kind}: {found} of {wanted}", file=sys.stderr)
        if missed and not found:
            path = save(*missed[:2])
            for question, answer in missed[2][:2]:
                print(f"{path.name}: {question} {said(path, question, 'bfloat16')} (right: {answer})")
    lines = ["# image\tquestion\tanswer", *("\t".join(row) for row in rows)]
    (args.out / "questions.tsv").write_text("\n".join(lines) + "\n")
    print(len(rows), "questions")


if __name__ == "__main__":
    main()
