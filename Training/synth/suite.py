"""Writes the held-out suite: SUITE/TASK.jsonl and SUITE/images/, the same pixels from the same versions.

Words, numbers of three characters and more, layouts, phrasings and seeds are such as training never sees; so are turn,
size, place and colour of a picture, but not its artwork. Each line is a
question in LLaVA's question format with its answer: {"question_id", "image", "text", "category", "answer"};
existence has POPE's `label` as well. The checksum covers questions, answers and pixels; the expected ones of
images of 256 and 512 pixels stand in suite.sha256.

    python -m synth.suite --out data/suite-512 --side 512
"""

import argparse
import hashlib
import json
import pathlib
import random
import sys

from synth import documents, questions, world
from synth.scenes import KINDS, Painter

EXPECTED = pathlib.Path(__file__).parent.parent / "suite.sha256"
SEED = 900_000


class Suite:
    def __init__(self, out: pathlib.Path, items: int, side: int):
        self.out, self.items, self.side = out, items, side
        self.words = world.words()[1]
        self.digest = hashlib.sha256()
        (out / "images").mkdir(parents=True, exist_ok=True)

    def painter(self, task: str) -> tuple[Painter, random.Random]:
        number = SEED + list(TASKS).index(task)
        return Painter(number, self.words, invented=0, held=True, side=self.side), random.Random(number)

    def write(self, task: str) -> int:
        painter, rng = self.painter(task)
        lines = []
        for number, (image, question, answer) in enumerate(TASKS[task](painter, rng, self.items)):
            name = f"images/{task}-{number:03d}.png"
            image.save(self.out / name)
            line = {
                "question_id": number,
                "image": name,
                "text": question,
                "category": task,
                "answer": answer,
            }
            if task == "existence":
                line["label"] = answer.lower().rstrip(".")
            lines.append(json.dumps(line, ensure_ascii=False))
            self.digest.update(lines[-1].encode() + image.tobytes())
        (self.out / f"{task}.jsonl").write_text("\n".join(lines) + "\n")
        return len(lines)


def scenes(painter: Painter, families: list[str]):
    """Scenes of the families in turn, without end."""
    while True:
        for family in families:
            image, scene = painter.paint(family)
            yield image, questions.Facts(scene)


def naming(painter, rng, items):
    """Every kind in turn, in a random order."""
    order: list[int] = []
    for _ in range(items):
        if not order:
            order = list(range(KINDS))
            rng.shuffle(order)
        painter.only = order.pop()
        image, scene = painter.paint("single")
        painter.only = None
        yield image, *questions.ask(questions.Facts(scene), "name", rng, held=True)


def counting(most: int):
    """0 to `most`, equally often; 0 means a kind that is not there."""

    def make(painter, rng, items):
        painter.most = most
        found = scenes(painter, ["group"])
        for i in range(items):
            wanted = i % (most + 1)
            while True:
                image, facts = next(found)
                if wanted == 0 or wanted in facts.count.values():
                    break
            if wanted == 0:
                yield image, *questions.ask(facts, "count", rng, held=True, want="0")
                continue
            name = rng.choice([n for n, c in facts.count.items() if c == wanted])
            phrasing = rng.choice(questions.PHRASINGS["count"][1])
            yield image, questions.fill(phrasing, rng, many=questions.many(name)), str(wanted)

    return make


def existence(painter, rng, items):
    """Balanced as POPE: for every image with yes one with no."""
    found = scenes(painter, ["group", "pair", "single", "shapes", "mixed"])
    for i in range(items):
        image, facts = next(found)
        yield image, *questions.ask(facts, "exists", rng, held=True, want="No." if i % 2 else "Yes.")


def of_tasks(families: list[str], tasks: list[str]):
    """Items of the tasks in turn, on scenes of the families that allow them."""

    def make(painter, rng, items):
        found = scenes(painter, families)
        for i in range(items):
            task = tasks[i % len(tasks)]
            while True:
                image, facts = next(found)
                if task in facts.possible():
                    break
            yield (
                image,
                *questions.ask(facts, task, rng, held=True, want="No." if i // len(tasks) % 2 else "Yes."),
            )

    return make


def reading(painter, rng, items):
    """Single words and numbers, two to one."""
    found = scenes(painter, ["word"])
    for i in range(items):
        while True:
            image, facts = next(found)
            if facts.texts[0]["text"][0].isalpha() == bool(i % 3):
                break
        yield image, *questions.ask(facts, "read", rng, held=True)


def refusals(painter, rng, items):
    found = scenes(painter, ["single", "pair", "group", "shapes", "word"])
    for _ in range(items):
        image, facts = next(found)
        yield image, *questions.refuse(facts, rng, held=True)


def sheets(kinds: list[str]):
    def make(painter, rng, items):
        for i in range(items):
            image, scene = documents.paint(painter, kinds[i % len(kinds)])
            yield image, *documents.ask(scene, rng, held=True)

    return make


TASKS = {
    "naming": naming,
    "counting": counting(world.MOST),
    "existence": existence,
    "color-shape": of_tasks(["shapes"], ["color", "shape"]),
    "relations": of_tasks(["pair"], ["side", "beside", "relation", "bigger", "larger"]),
    "reading": reading,
    "captions": of_tasks(["single", "pair", "group", "shapes", "mixed"], ["describe"]),
    "background": of_tasks(["single", "pair", "group", "word"], ["ground"]),
    "refusals": refusals,
    "counting-12": counting(world.MORE),
    "lines": of_tasks(["lines"], ["line"]),
    "documents": sheets(["receipt", "label", "form", "table", "sign"]),
    "charts": sheets(["bars", "curve", "pie"]),
}
FIRST_TIER = ["naming", "counting", "existence", "color-shape", "relations", "reading"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--items", type=int, default=300, help="of each task")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--accept", action="store_true", help="write the checksum as the expected one")
    args = parser.parse_args()
    if args.accept and (args.items, args.tasks) != (300, list(TASKS)):
        parser.error("--accept is for the whole suite: without --items and --tasks")
    suite = Suite(args.out, args.items, args.side)
    for task in args.tasks:
        print(task, suite.write(task), flush=True)
    found = suite.digest.hexdigest()
    (args.out / "sha256").write_text(found + "\n")
    known = dict(line.split() for line in EXPECTED.read_text().splitlines())  # side -> checksum
    if args.accept:
        known[str(args.side)] = found
        EXPECTED.write_text("".join(f"{side} {sum}\n" for side, sum in sorted(known.items())))
    expected = known.get(str(args.side))
    print(found, "as expected" if found == expected else "")
    if (args.items, args.tasks) == (300, list(TASKS)) and expected and found != expected:
        sys.exit(
            f"the suite is not the one of suite.sha256 ({expected}): other fonts, words or library versions?"
        )


if __name__ == "__main__":
    main()
