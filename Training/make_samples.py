"""Chooses held-out images that the exported model answers right, and writes questions.tsv.

They are chosen for right answers, so they say nothing about accuracy: the model card does.
"""

import argparse
import json
import pathlib

from PIL import Image

import questions
import vocabulary
from data import Scenes
from evaluate import Reference

WANTED = {"single": 2, "count": 2, "pair": 2, "word": 3}


def canonical(scene: dict) -> list[tuple[str, str]]:
    """The questions put to a sample, in plain phrasings."""
    pairs = [("Describe the image.", questions.describe(scene))]
    if scene["color"]:
        pairs.append(("What color is the background?", questions.sentence(scene["color"])))
    if "word" in scene:
        return [
            ("What does it say?", scene["word"]),
            ("Read the word.", scene["word"]),
            *pairs,
            ("Is there any text?", "Yes."),
        ]
    kind, number = scene["things"][0]
    pairs.append(("Is there any text?", "No."))
    if len(scene["things"]) == 1 and number > 1:
        pairs.insert(0, ("What are these?", questions.sentence(questions.many(kind))))
    pairs.append((f"How many {questions.many(kind)} are there?", str(number)))
    if scene["family"] == "pair":
        pairs += [
            (f"What is on the {side}?", questions.sentence(questions.one(scene[side])))
            for side in ("left", "right")
        ]
    if scene["family"] == "single":
        pairs.insert(0, ("What is this?", questions.sentence(questions.one(kind))))
    return pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=pathlib.Path, default=pathlib.Path("../Models/fastvlm-small"))
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("../Samples"))
    parser.add_argument(
        "--first", type=int, default=2000, help="held-out images before this one are for the evaluation"
    )
    parser.add_argument(
        "--allow", type=int, default=0, help="wrong answers a sample may have; those questions are left out"
    )
    args = parser.parse_args()
    reference, held = Reference(args.model), Scenes("held")
    args.out.mkdir(parents=True, exist_ok=True)
    chosen: dict[str, int] = {family: 0 for family in WANTED}
    used: set = set()
    listed, tried = [], 0
    for index in range(args.first, len(held)):
        scene = held.described[index]
        family = scene["family"]
        key = scene.get("word") or scene["things"][0][0]
        if (
            chosen[family] == WANTED[family]
            or key in used
            or (family == "count" and scene["things"][0][1] < 3)
        ):
            continue
        tried += 1
        image = Image.fromarray(held.image(index))
        pairs = canonical(scene)
        right = [pair for pair in pairs if reference.answer(image, pair[0]) == pair[1]]
        if len(pairs) - len(right) > args.allow or right[:1] != pairs[:1]:
            continue
        chosen[family] += 1
        used.add(key)
        name = scene.get("word", "").lower() or "-".join(vocabulary.KINDS[k][0] for k, _ in scene["things"])
        name = f"{family}-{name}." + ("jpg" if chosen[family] == 2 else "png")
        if name.endswith("jpg"):
            image.save(args.out / name, quality=92)
            again = Image.open(args.out / name)
            right = [pair for pair in right if reference.answer(again, pair[0]) == pair[1]]
        else:
            image.save(args.out / name, optimize=True)
        listed += [(name, question, answer) for question, answer in right]
        if chosen == WANTED:
            break
    lines = ["# image\tquestion\tanswer", *("\t".join(row) for row in listed)]
    (args.out / "questions.tsv").write_text("\n".join(lines) + "\n")
    print(json.dumps({"images": chosen, "questions": len(listed), "scenes tried": tried}))


if __name__ == "__main__":
    main()
