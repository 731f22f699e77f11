"""Counting by pointing: before a number, an answer shows where each of the things is.

A decoder cannot add up a picture in one step, but it can go from one thing to the next. So `<|row 2|><|column 5|>` stands
before the number, once for each thing in reading order, as Molmo writes points (Deitke et al., 2024). They
are special tokens, which runtimes leave out of the text: "How many dogs are there?" is still answered "3".

The row comes first and on its own. Where two things are as good a next one, it decides between them; a single token
for the place would be taken from both, the row of one and the column of the other.
"""

import random

from synth import questions, world

GRID = 8  # rows and columns, whatever the resolution
BLUR = 0.025  # of the side: puts one thing in six in another row, about as often as a trained model does
PLURALS = {questions.many(name): name for name in range(len(world.NAMES))}
ROWS = [f"<|row {number}|>" for number in range(GRID)]
COLUMNS = [f"<|column {number}|>" for number in range(GRID)]
PLACES = [*ROWS, *COLUMNS]


def counted(question: str, answer: str) -> int | None:
    """The kind of thing that is asked the number of."""
    asked = [plural for plural in PLURALS if f" {plural}" in question] if answer.isdigit() else []
    return PLURALS[max(asked, key=len)] if asked else None


def place(at: tuple[float, float]) -> tuple[int, int]:
    """The row and column of a point, x and y as shares of the image's side."""
    return tuple(min(GRID - 1, max(0, int(v * GRID))) for v in reversed(at))


def blurred(scene: dict, rng: random.Random) -> dict:
    """The scene with every thing where an eye may think that it is, `seen`.

    A thing near the border of two cells is taken to be in either, and then comes earlier or later in reading order.
    Whoever learns from exact places has never seen how to go on after such a slip.
    """
    things = [t | {"seen": [v + rng.gauss(0, BLUR) for v in t["at"]]} for t in scene["things"]]
    return scene | {"things": things}


def shown(scene: dict, kind: int) -> list[tuple[tuple[int, int], tuple[float, float]]]:
    """The things of the kind in reading order: the row and column where each is seen, and its x and y."""
    seen = [(tuple(t.get("seen", t["at"])), tuple(t["at"])) for t in scene["things"] if t["name"] == kind]
    return sorted((place(look), at) for look, at in seen)


def pointed(scene: dict, turns: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The turns with the places before every number of things."""
    found = []
    for question, answer in turns:
        kind = counted(question, answer)
        places = [] if kind is None else [cell for cell, _ in shown(scene, kind)]
        found.append((question, "".join(ROWS[row] + COLUMNS[column] for row, column in places) + answer))
    return found
