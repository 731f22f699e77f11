"""What the synthetic world contains: kinds of picture, colours, words. Everything else derives from this."""

import hashlib
import re

# (singular, plural, character in the colour-emoji font)
KINDS = [
    ("dog", "dogs", "\U0001F436"), ("cat", "cats", "\U0001F431"), ("fox", "foxes", "\U0001F98A"),
    ("panda", "pandas", "\U0001F43C"), ("lion", "lions", "\U0001F981"), ("pig", "pigs", "\U0001F437"),
    ("frog", "frogs", "\U0001F438"), ("monkey", "monkeys", "\U0001F435"),
    ("penguin", "penguins", "\U0001F427"), ("owl", "owls", "\U0001F989"), ("bee", "bees", "\U0001F41D"),
    ("butterfly", "butterflies", "\U0001F98B"), ("turtle", "turtles", "\U0001F422"),
    ("fish", "fish", "\U0001F41F"), ("octopus", "octopuses", "\U0001F419"),
    ("elephant", "elephants", "\U0001F418"), ("crab", "crabs", "\U0001F980"),
    ("apple", "apples", "\U0001F34E"), ("banana", "bananas", "\U0001F34C"),
    ("lemon", "lemons", "\U0001F34B"), ("strawberry", "strawberries", "\U0001F353"),
    ("carrot", "carrots", "\U0001F955"), ("pizza", "pizzas", "\U0001F355"),
    ("hamburger", "hamburgers", "\U0001F354"), ("donut", "donuts", "\U0001F369"),
    ("tree", "trees", "\U0001F333"), ("cactus", "cactuses", "\U0001F335"),
    ("sunflower", "sunflowers", "\U0001F33B"), ("mushroom", "mushrooms", "\U0001F344"),
    ("star", "stars", "\u2B50"), ("snowman", "snowmen", "\u26C4"), ("car", "cars", "\U0001F697"),
    ("bus", "buses", "\U0001F68C"), ("bicycle", "bicycles", "\U0001F6B2"),
    ("rocket", "rockets", "\U0001F680"), ("house", "houses", "\U0001F3E0"), ("key", "keys", "\U0001F511"),
    ("clock", "clocks", "\u23F0"), ("book", "books", "\U0001F4D5"), ("camera", "cameras", "\U0001F4F7"),
    ("guitar", "guitars", "\U0001F3B8"), ("ball", "balls", "\u26BD"), ("balloon", "balloons", "\U0001F388"),
    ("gift", "gifts", "\U0001F381"), ("heart", "hearts", "\u2764"), ("crown", "crowns", "\U0001F451"),
    ("bell", "bells", "\U0001F514"), ("robot", "robots", "\U0001F916"),
]

# name -> (hue range in degrees, saturation range, value range)
COLOURS = {
    "red": ((-8, 8), (0.65, 1.0), (0.65, 1.0)),
    "orange": ((25, 36), (0.75, 1.0), (0.85, 1.0)),
    "yellow": ((50, 60), (0.65, 1.0), (0.9, 1.0)),
    "green": ((95, 145), (0.5, 1.0), (0.4, 0.9)),
    "blue": ((205, 235), (0.55, 1.0), (0.5, 1.0)),
    "purple": ((268, 288), (0.5, 1.0), (0.4, 0.85)),
    "pink": ((318, 340), (0.25, 0.5), (0.92, 1.0)),
    "white": ((0, 360), (0.0, 0.04), (0.95, 1.0)),
    "gray": ((0, 360), (0.0, 0.06), (0.4, 0.65)),
    "black": ((0, 360), (0.0, 0.1), (0.0, 0.14)),
}

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SHORTEST, LONGEST = 3, 5  # letters of a word to read
MOST = 5  # largest count


def is_held_out(word: str) -> bool:
    """One word in ten never appears in a training image."""
    return hashlib.sha256(word.encode()).digest()[0] % 10 == 0


def words(path: str = "/usr/share/dict/words") -> tuple[list[str], list[str]]:
    """The words to train on and the words held out, upper case."""
    with open(path, encoding="utf-8") as file:
        found = [w.strip() for w in file]
    pattern = re.compile(f"[a-z]{{{SHORTEST},{LONGEST}}}")
    found = sorted({w.upper() for w in found if pattern.fullmatch(w)})
    return [w for w in found if not is_held_out(w)], [w for w in found if is_held_out(w)]
