"""Chooses held-out images that the exported model answers right, and writes Samples/questions.tsv.

They are chosen for right answers, so they say nothing about accuracy: the model card does. Of a kind without a
rightly answered image one is kept all the same, without a question, and what the model says about it is printed.
"""

import argparse
import pathlib
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
    "word": ("word", ["read", "describe", "text"], 3),
    "receipt": ("receipt", [], 1),
    "chart": ("bars", [], 1),
}


def plain(facts: questions.Facts, task: str, rng) -> tuple[str, str]:
    """The question in its first phrasing."""
    kept = questions.PHRASINGS[task], questions.ENDINGS
    questions.PHRASINGS[task], questions.ENDINGS = ([kept[0][0][0]], []), [""]
    try:
        return questions.ask(facts, task, rng, want="Yes." if task == "exists" else None)
    finally:
        questions.PHRASINGS[task], questions.ENDINGS = kept


def main() -> None:
    import random

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--fastvlm", default=str(ROOT / ".build/release/fastvlm"))
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "Samples")
    parser.add_argument("--tries", type=int, default=40, help="images of a kind before it is given up")
    parser.add_argument("--precisions", nargs="+", default=["bfloat16", "float32"])
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    painter, rng = Painter(950_000, world.words()[1], invented=0, held=True), random.Random(1)

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
            image, scene = documents.paint(painter, family) if sheet else painter.paint(family)
            if sheet:
                pairs = list(dict.fromkeys(documents.ask(scene, rng) for _ in range(6)))
                word = scene["facts"][0][2]
            else:
                facts = questions.Facts(scene)
                pairs = [plain(facts, task, rng) for task in tasks if task in facts.possible()]
                word = facts.texts[0]["text"] if facts.texts else questions.noun(facts.order[0])
            if (kind == "count" and facts.count[facts.order[0]] < 3) or word in used or len(pairs) < 2:
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
