"""Counting by pointing: before a number, an answer shows where each of the things is.

A decoder cannot add up a picture in one step, but it can go from one thing to the next. So `<|row 2|><|column 5|>` stands
before the number, once for each thing in reading order, as Molmo writes points (Deitke et al., 2024). They
are special tokens, which runtimes leave out of the text: "How many dogs are there?" is still answered "3".

The row comes first and on its own. Where two things are as good a next one, it decides between them; a single token
for the place would be taken from both, the row of one and the column of the other.
"""

import random
from typing import NamedTuple

from synth import questions, world

GRID = 8  # rows and columns, whatever the resolution
BLUR = 0.025  # of the side: puts one thing in six in another row, about as often as a trained model does
SLIP = 0.12  # share of things that training shows wrongly, each in one of these ways:
SLIPS = ["late", "last", "again", "astray", "taken"]  # after the next; after all; twice; elsewhere; for another kind
FAR = 0.06  # of the side: how far off a place is that is wrong
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


class Look(NamedTuple):
    """One thing that is pointed at: the row and column said, its x and y, and whether it was right to say so now."""

    cell: tuple[int, int]
    at: tuple[float, float]
    right: bool = True


def blurred(scene: dict, rng: random.Random) -> dict:
    """The scene with every thing where an eye may think that it is, `seen`, and with some slips, `slip` and `slid`.

    A thing near the border of two cells is taken to be in either, and then comes earlier or later in reading order.
    Whoever learns from exact places has never seen how to go on after such a slip, or after one of `SLIPS`.
    """

    def off(thing, spread):
        return [v + rng.gauss(0, spread) for v in thing["at"]]

    things = []
    for thing in scene["things"]:
        thing = thing | {"seen": off(thing, BLUR)}
        if rng.random() < SLIP:
            thing |= {"slip": rng.choice(SLIPS), "slid": off(thing, FAR)}
        things.append(thing)
    return scene | {"things": things}


def shown(scene: dict, kind: int) -> list[Look]:
    """The things of the kind in reading order of where each is seen. What a slip says is not right."""
    entries = []  # the cell it is sorted by, x and y, the cell that is said, "wrong" or the slip
    for thing in scene["things"]:
        at, slip = tuple(thing["at"]), thing.get("slip")
        cell, far = place(tuple(thing.get("seen", at))), place(tuple(thing.get("slid", at)))
        if thing["name"] != kind:
            if slip == "taken":
                entries.append((cell, at, cell, "wrong"))
        else:
            entries.append((cell, at, far, "wrong") if slip == "astray" else (cell, at, cell, slip))
            if slip == "again":
                entries.append((max(cell, far), at, max(cell, far), "wrong"))
    found: list[Look] = []
    passed = None  # a thing that was passed over, and how
    for _, at, said, slip in sorted(entries, key=lambda entry: entry[:2]):
        if slip in ("late", "last") and passed is None:
            passed = Look(said, at), slip
            continue
        found.append(Look(said, at, right=passed is None and slip != "wrong"))
        if passed is not None and passed[1] == "late":
            found.append(passed[0])
            passed = None
    return found if passed is None else [*found, passed[0]]


def pointed(scene: dict, turns: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The turns with the places before every number of things."""
    found = []
    for question, answer in turns:
        kind = counted(question, answer)
        cells = [] if kind is None else [look.cell for look in shown(scene, kind)]
        found.append((question, "".join(ROWS[row] + COLUMNS[column] for row, column in cells) + answer))
    return found
