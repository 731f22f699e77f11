"""What the synthetic world contains: kinds of picture, colours, words. Everything else derives from this."""

import hashlib
import re

# (singular, plural, character in the colour-emoji font)
KINDS = [
    ("dog", "dogs", "\U0001f436"),
    ("cat", "cats", "\U0001f431"),
    ("fox", "foxes", "\U0001f98a"),
    ("panda", "pandas", "\U0001f43c"),
    ("lion", "lions", "\U0001f981"),
    ("pig", "pigs", "\U0001f437"),
    ("frog", "frogs", "\U0001f438"),
    ("monkey", "monkeys", "\U0001f435"),
    ("penguin", "penguins", "\U0001f427"),
    ("owl", "owls", "\U0001f989"),
    ("bee", "bees", "\U0001f41d"),
    ("butterfly", "butterflies", "\U0001f98b"),
    ("turtle", "turtles", "\U0001f422"),
    ("fish", "fish", "\U0001f41f"),
    ("octopus", "octopuses", "\U0001f419"),
    ("elephant", "elephants", "\U0001f418"),
    ("crab", "crabs", "\U0001f980"),
    ("apple", "apples", "\U0001f34e"),
    ("banana", "bananas", "\U0001f34c"),
    ("lemon", "lemons", "\U0001f34b"),
    ("strawberry", "strawberries", "\U0001f353"),
    ("carrot", "carrots", "\U0001f955"),
    ("pizza", "pizzas", "\U0001f355"),
    ("hamburger", "hamburgers", "\U0001f354"),
    ("donut", "donuts", "\U0001f369"),
    ("tree", "trees", "\U0001f333"),
    ("cactus", "cactuses", "\U0001f335"),
    ("sunflower", "sunflowers", "\U0001f33b"),
    ("mushroom", "mushrooms", "\U0001f344"),
    ("star", "stars", "\u2b50"),
    ("snowman", "snowmen", "\u26c4"),
    ("car", "cars", "\U0001f697"),
    ("bus", "buses", "\U0001f68c"),
    ("bicycle", "bicycles", "\U0001f6b2"),
    ("rocket", "rockets", "\U0001f680"),
    ("house", "houses", "\U0001f3e0"),
    ("key", "keys", "\U0001f511"),
    ("clock", "clocks", "\u23f0"),
    ("book", "books", "\U0001f4d5"),
    ("camera", "cameras", "\U0001f4f7"),
    ("guitar", "guitars", "\U0001f3b8"),
    ("ball", "balls", "\u26bd"),
    ("balloon", "balloons", "\U0001f388"),
    ("gift", "gifts", "\U0001f381"),
    ("heart", "hearts", "\u2764"),
    ("crown", "crowns", "\U0001f451"),
    ("bell", "bells", "\U0001f514"),
    ("robot", "robots", "\U0001f916"),
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
