"""Counting by pointing: before a number, an answer shows where each of the things is.

A decoder cannot add up a picture in one step, but it can go from one thing to the next. So `<|place 2 5|>` tokens stand
before the number, one for each thing in reading order, as Molmo writes points (Deitke et al., 2024). They
are special tokens, which runtimes leave out of the text: "How many dogs are there?" is still answered "3".
"""

from synth import questions, world

GRID = 8  # places in a row and in a column, whatever the resolution
PLURALS = {questions.many(name): name for name in range(len(world.NAMES))}


def token(row: int, column: int) -> str:
    return f"<|place {row} {column}|>"


PLACES = [token(row, column) for row in range(GRID) for column in range(GRID)]


def counted(question: str, answer: str) -> int | None:
    """The kind of thing that is asked the number of."""
    asked = [plural for plural in PLURALS if f" {plural}" in question] if answer.isdigit() else []
    return PLURALS[max(asked, key=len)] if asked else None


def place(at: tuple[float, float]) -> tuple[int, int]:
    """The row and column of a point, x and y as shares of the image's side."""
    return tuple(min(GRID - 1, max(0, int(v * GRID))) for v in reversed(at))


def centres(scene: dict, kind: int) -> list[tuple[float, float]]:
    """x and y of each thing of the kind, in reading order of their places."""
    return sorted((tuple(t["at"]) for t in scene["things"] if t["name"] == kind), key=lambda at: (place(at), at))


def pointed(scene: dict, turns: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The turns with the places before every number of things."""
    found = []
    for question, answer in turns:
        kind = counted(question, answer)
        shown = [] if kind is None else centres(scene, kind)
        found.append((question, "".join(token(*place(at)) for at in shown) + answer))
    return found
