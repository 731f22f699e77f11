"""From a scene's description to questions and answers, in phrasings to train on and phrasings held out.

A phrasing is a template; `{in}` becomes one of several endings ("in the image", "here", nothing), so that a
question has dozens of wordings. Held-out phrasings use only words that the others use too.
"""

import itertools
import random

from synth import world

ENDINGS = ["", "", " in the image", " in the picture", " here", " in this image", " in this picture"]
# What may stand before a question in training, so that how it begins matters less than what it asks.
OPENINGS = ["In the image, ", "In this image, ", "In the picture, ", "In this picture, ", "Here, ", "Tell me: "]
# task -> (phrasings trained on, phrasings held out)
PHRASINGS = {
    "name": (
        [
            *(
                "What is this?",
                "What is shown{in}?",
                "What is{in}?",
                "What object is this?",
                "Name the object{in}.",
            ),
            *(
                "What can you see{in}?",
                "What thing is shown{in}?",
                "What does the image show?",
                "Name this thing.",
            ),
            *("Which object is shown{in}?", "What do you see{in}?", "What is the object{in}?"),
        ],
        ["What does this picture show?", "Which thing is this?", "Name the object shown."],
    ),
    "these": (
        [
            *(
                "What are these?",
                "What are the objects{in}?",
                "Name the objects{in}.",
                "What are these things?",
            ),
            "Which objects are shown{in}?",
        ],
        ["Which objects are these?", "Name these things."],
    ),
    "count": (
        [
            *(
                "How many {many} are there?",
                "How many {many} are there{in}?",
                "How many {many} do you see{in}?",
            ),
            *("Count the {many}{in}.", "What is the number of {many}{in}?", "How many {many} are shown{in}?"),
            *("Tell me how many {many} there are.", "How many {many} does the image show?"),
            *("How many {many} can you name{in}?", "Can you see how many {many} there are{in}?"),
            *("Can you tell me how many {many} there are?", "Tell me how many {many} you see{in}."),
        ],
        [
            "How many {many} can you see?",
            "Tell me the number of {many}.",
            "How many {many} does this picture show?",
        ],
    ),
    "exists": (
        [
            *("Is there {a}{in}?", "Do you see {a}{in}?", "Can you see {a}{in}?", "Does the image show {a}?"),
            *(
                "Is {a} shown{in}?",
                "Does the picture show {a}?",
                "Are there any {many}{in}?",
                "Do you see any {many}{in}?",
            ),
        ],
        ["Can you see any {many}?", "Does this image show any {many}?", "Tell me, is there {a}?"],
    ),
    "text": (
        [
            *("Is there any text{in}?", "Is there a word or a number{in}?", "Do you see any text{in}?"),
            "Does the image show any text?",
        ],
        ["Can you see any text?", "Is there text{in}?"],
    ),
    "color": (
        [
            *("What color is the {one}?", "What color is the {one}{in}?", "Which color is the {one}?"),
            *(
                "What is the color of the {one}{in}?",
                "Name the color of the {one}.",
                "Which color does the {one} have?",
            ),
        ],
        ["Tell me the color of the {one}.", "What color does the {one} have?"],
    ),
    "shape": (
        [
            *(
                "What shape is {color}?",
                "Which shape is {color}?",
                "What is the {color} shape?",
                "Name the {color} shape.",
            ),
            *("What is {color}{in}?", "Which thing is {color}?"),
        ],
        ["Tell me which shape is {color}.", "What thing is {color}?"],
    ),
    "ground": (
        [
            *(
                "What color is the background?",
                "What is the background color?",
                "Which color is the background?",
            ),
            "What color does the background have?",
        ],
        ["Name the background color.", "Tell me the color of the background."],
    ),
    "side": (
        [
            *("What is on the {side}?", "What is on the {side}{in}?", "What do you see on the {side}?"),
            *("Name the object on the {side}.", "What is shown on the {side}?", "What is at the {side}?"),
            "Which thing is on the {side}?",
        ],
        ["Which object is on the {side}?", "Tell me what is on the {side}."],
    ),
    "beside": (
        [
            *(
                "What is {way} the {one}?",
                "What do you see {way} the {one}?",
                "Name the object {way} the {one}.",
            ),
            "Which thing is {way} the {one}?",
        ],
        ["Which object is {way} the {one}?", "Tell me what is {way} the {one}."],
    ),
    "relation": (
        [
            *(
                "Is the {one} {way} the {two}?",
                "Do you see the {one} {way} the {two}?",
                "Is there {a} {way} the {two}?",
            ),
            "Can you see the {one} {way} the {two}?",
        ],
        ["Tell me, is the {one} {way} the {two}?"],
    ),
    "bigger": (
        [
            *("Which is {more}, the {one} or the {two}?", "What is {more}, the {one} or the {two}?"),
            *(
                "Which thing is {more}?",
                "Tell me which is {more}, the {one} or the {two}.",
                "Which object is {more}?",
            ),
        ],
        ["Which object is {more}, the {one} or the {two}?", "Tell me which thing is {more}."],
    ),
    "larger": (
        [
            *("Is the {one} {more} than the {two}?", "Does the image show the {one} {more} than the {two}?"),
            "Do you see that the {one} is {more} than the {two}?",
        ],
        ["Tell me, is the {one} {more} than the {two}?"],
    ),
    "read": (
        [
            *("What does it say?", "Read the {sort}.", "What {sort} is this?", "What is written{in}?"),
            *(
                "What does the text say?",
                "Read the text{in}.",
                "What is the {sort}{in}?",
                "Which {sort} is shown{in}?",
            ),
            *("What {sort} do you see{in}?", "Tell me what it says.", "What text is{in}?"),
            *("What does the picture say?", "What does this say?", "What does the {sort} say?"),
            "What does it say{in}?",
        ],
        ["Which {sort} is this?", "What does the image say?", "Tell me what the text says."],
    ),
    "line": (
        [
            *("What does the {nth} line say?", "Read the {nth} line.", "What is the {nth} line?"),
            *("What is written in the {nth} line?", "Read line {n}.", "What does line {n} say?"),
        ],
        ["What text is in the {nth} line?", "Tell me what line {n} says."],
    ),
    "lines": (
        [
            "How many lines are there?",
            "How many lines of text are{in}?",
            "Count the lines.",
            "How many lines do you see?",
        ],
        ["What is the number of lines?", "How many lines can you see?"],
    ),
    "describe": (
        [
            *("Describe the image.", "Describe the picture.", "Describe this picture.", "Caption the image."),
            *("What does the picture show? Describe it.", "Describe what you see{in}.", "Write a caption."),
        ],
        ["Describe this image.", "Caption this picture."],
    ),
    "unknown": (
        [
            *(
                "Who made this?",
                "Where is this?",
                "When was this made?",
                "How much does it cost?",
                "What is its name?",
            ),
            *(
                "Who wrote this?",
                "Where was this made?",
                "How old is it?",
                "What is the weather?",
                "Is it heavy?",
            ),
        ],
        ["Who is this?", "How much is it?", "When was this?"],
    ),
}
TASKS = list(PHRASINGS)
NTH = ["first", "second", "third", "fourth"]
WAYS = {"left": "to the left of", "right": "to the right of", "top": "above", "bottom": "below"}
OPPOSITE = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
UNKNOWN = "I cannot tell from the image."


def noun(name: int) -> str:
    return world.NAMES[name]


def a(name: int) -> str:
    return world.article(noun(name))


def many(name: int) -> str:
    return world.plural(noun(name))


def sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def sort(text: str) -> str:
    return "word" if text[0].isalpha() else "number"


class Facts:
    """What can be asked about a scene."""

    def __init__(self, scene: dict):
        self.scene, self.things, self.texts = scene, scene["things"], scene["texts"]
        self.count: dict[int, int] = {}
        for thing in self.things:
            self.count[thing["name"]] = self.count.get(thing["name"], 0) + 1
        self.order = sorted(self.count, key=lambda n: (-self.count[n], n))
        self.shapes = [t for t in self.things if t.get("color")]
        self.two = len(self.things) == 2 and len(self.count) == 2

    def side(self) -> dict[str, int]:
        """left/right or top/bottom -> the thing there, where two are clearly beside or above one another."""
        if not self.two:
            return {}
        one, two = self.things
        dx, dy = (two["at"][i] - one["at"][i] for i in range(2))
        if abs(dx) < 0.22 and abs(dy) < 0.22 or 0.5 < abs(dx) / max(abs(dy), 1e-6) < 2:
            return {}
        names = (one["name"], two["name"])
        low, high = ("left", "right") if abs(dx) > abs(dy) else ("top", "bottom")
        first = (dx if abs(dx) > abs(dy) else dy) > 0
        return {low: names[not first], high: names[first]}

    def bigger(self) -> tuple[int, int] | None:
        """The bigger and the smaller of two things, where it is clear."""
        if not self.two:
            return None
        small, big = sorted(self.things, key=lambda t: t["size"])
        return (big["name"], small["name"]) if big["size"] > 1.35 * small["size"] else None

    def describe(self) -> str:
        parts = []
        if self.shapes and len(self.shapes) == len(self.things) <= 3:
            parts = [world.article(f"{t['color']} {noun(t['name'])}") for t in self.things]
        else:
            for name in self.order[:3]:
                number = self.count[name]
                parts.append(a(name) if number == 1 else f"{number} {many(name)}")
        if len(self.texts) == 1:
            text = self.texts[0]["text"]
            parts.append(f"the {sort(text)} {text}")
        elif self.texts:
            parts.append(f"{len(self.texts)} lines of text")
        return sentence(
            " and ".join(parts) if len(parts) < 3 else ", ".join(parts[:-1]) + " and " + parts[-1]
        )

    def possible(self) -> list[str]:
        """The tasks that make sense for the scene, without those that must be refused."""
        tasks = ["exists", "describe", "count", "text"]
        if self.scene["ground"]:
            tasks.append("ground")
        if len(self.things) == 1:
            tasks.append("name")
        elif len(self.count) == 1:
            tasks.append("these")
        if self.unique_colors():
            tasks.append("shape")
        if self.unique_shapes():
            tasks.append("color")
        if self.side():
            tasks += ["side", "beside", "relation"]
        if self.bigger():
            tasks += ["bigger", "larger"]
        if len(self.texts) == 1:
            tasks.append("read")
        elif self.texts:
            tasks += ["line", "lines"]
        return tasks

    def unique_shapes(self) -> list[dict]:
        return [t for t in self.shapes if self.count[t["name"]] == 1]

    def unique_colors(self) -> list[dict]:
        colors = [t["color"] for t in self.shapes]
        return [t for t in self.shapes if colors.count(t["color"]) == 1]


def fill(phrasing: str, rng: random.Random, **values) -> str:
    return phrasing.format(**{"in": rng.choice(ENDINGS)}, **values).replace("What is?", "What is this?")


def opened(question: str, rng: random.Random) -> str:
    return rng.choice(OPENINGS) + question[0].lower() + question[1:]


def absent(facts: Facts, rng: random.Random) -> int:
    """Something that is not there; often a shape where there are shapes, so that it is not given away."""
    while True:
        if facts.shapes and rng.random() < 0.6:
            name = len(world.KINDS) + rng.randrange(len(world.SHAPES))
        else:
            name = rng.randrange(len(world.KINDS))
        if not any(world.alike(name, other) for other in facts.count):
            return name


def ask(
    facts: Facts,
    task: str,
    rng: random.Random,
    held: bool = False,
    want: str | None = None,
    kind: int | None = None,
) -> tuple[str, str]:
    """A question of the task about the scene, and its answer.

    `want`: "Yes." or "No." for the tasks with such answers, "0" for "count"; else as chance has it.
    `kind`: what is to be counted, unless that is something absent.
    """
    trained, kept = PHRASINGS[task]
    phrasing = rng.choice(kept if held else trained)

    def say(**values):
        return fill(phrasing, rng, **values)

    yes = rng.random() < 0.5 if want is None else want == "Yes."
    if task == "name" or task == "these":
        name = facts.things[0]["name"]
        return say(), sentence(a(name) if task == "name" else "these are " + many(name))
    if task == "count":
        zero = rng.random() < 0.1 or not facts.count if want is None else want == "0"
        main = facts.order[0] if rng.random() < 0.4 and facts.order else None
        kind = main if kind is None else kind
        name = absent(facts, rng) if zero else rng.choice(facts.order) if kind is None else kind
        return say(many=many(name)), str(facts.count.get(name, 0))
    if task == "exists":
        name = rng.choice(facts.order) if facts.count and yes else absent(facts, rng)
        return say(a=a(name), many=many(name)), "Yes." if name in facts.count else "No."
    if task == "text":
        return say(), "Yes." if facts.texts else "No."
    if task == "color":
        thing = rng.choice(facts.unique_shapes())
        return say(one=noun(thing["name"])), sentence(thing["color"])
    if task == "shape":
        thing = rng.choice(facts.unique_colors())
        return say(color=thing["color"]), sentence(a(thing["name"]))
    if task == "ground":
        return say(), sentence(facts.scene["ground"])
    if task in ("side", "beside", "relation"):
        sides = facts.side()
        side = rng.choice(list(sides))
        one, two = sides[side], sides[OPPOSITE[side]]
        if task == "side":
            return say(side=side), sentence(a(one))
        if task == "beside":
            return say(way=WAYS[side], one=noun(two)), sentence(a(one))
        way = side if yes else OPPOSITE[side]
        return say(one=noun(one), two=noun(two), a=a(one), way=WAYS[way]), "Yes." if yes else "No."
    if task in ("bigger", "larger"):
        big, small = facts.bigger()
        more = rng.choice(["bigger", "smaller"])
        right, wrong = (big, small) if more == "bigger" else (small, big)
        if task == "bigger":
            one, two = rng.sample([big, small], 2)
            return say(more=more, one=noun(one), two=noun(two)), sentence("the " + noun(right))
        one, two = (right, wrong) if yes else (wrong, right)
        return say(more=more, one=noun(one), two=noun(two)), "Yes." if yes else "No."
    if task == "read":
        text = facts.texts[0]["text"]
        return say(sort=sort(text)), text
    if task == "line":
        place = rng.randrange(len(facts.texts))
        nth = "last" if place == len(facts.texts) - 1 and rng.random() < 0.5 else NTH[place]
        return say(nth=nth, n=place + 1), facts.texts[place]["text"]
    if task == "lines":
        return say(), str(len(facts.texts))
    if task == "unknown":
        return say(), UNKNOWN
    return say(), facts.describe()


def refuse(facts: Facts, rng: random.Random, held: bool = False) -> tuple[str, str]:
    """A question that the image cannot answer."""
    kinds = ["unknown", "color", "beside"] + ([] if facts.texts else ["read", "read", "line"])
    task = rng.choice(kinds)
    if task == "unknown":
        return ask(facts, "unknown", rng, held)
    phrasing = rng.choice(PHRASINGS[task][held])
    if task in ("read", "line"):
        place = rng.randrange(4)
        word = rng.choice(["word", "number"])
        return fill(phrasing, rng, sort=word, nth=NTH[place], n=place + 1), "There is no text."
    missing = absent(facts, rng)
    if task == "color":
        while missing < len(world.KINDS) or any(world.alike(missing, other) for other in facts.count):
            missing = len(world.KINDS) + rng.randrange(len(world.SHAPES))
    way = WAYS[rng.choice(list(WAYS))]
    return fill(phrasing, rng, one=noun(missing), way=way), sentence("there is no " + noun(missing))


MAIN = {  # what each family is for; more than once: asked about several things of the image
    "single": ["name", "exists"],
    "pair": ["side", "beside", "relation", "exists", "bigger", "larger"],
    "group": ["count", "count", "count", "exists", "these"],
    "crowd": ["count", "count", "count", "count"],
    "shapes": ["color", "color", "color", "shape", "exists", "count", "side", "name"],
    "word": ["read", "read"],
    "lines": ["line", "line", "line", "lines"],
    "mixed": ["read", "exists", "name", "count"],
}


def several(scene: dict, number: int, rng: random.Random) -> list[tuple[str, str]]:
    """`number` different questions about one scene: those of its family first, then others, some refused."""
    if "facts" in scene:
        from synth import documents

        return list(dict.fromkeys(documents.ask(scene, rng) for _ in range(number)))
    facts = Facts(scene)
    possible = facts.possible()
    main = [t for t in MAIN.get(scene["family"], []) if t in possible]
    rng.shuffle(main)
    seldom = ("text", "ground") if facts.things else ("text", "ground", "exists", "count")
    rest = [t for t in possible if t not in main and (t not in seldom or rng.random() < 0.3)]
    rng.shuffle(rest)
    keep = max(1, round(number * 0.7))
    tasks = (main[:keep] + rest)[: number - 1]
    while len(tasks) < number:
        tasks.append("refuse" if rng.random() < 0.15 else rng.choice(main or possible))
    found: list[tuple[str, str]] = []
    kinds = itertools.cycle(rng.sample(facts.order, len(facts.order)) or [None])  # every kind is counted once
    for task in tasks:
        kind = next(kinds) if task == "count" else None
        question, answer = refuse(facts, rng) if task == "refuse" else ask(facts, task, rng, kind=kind)
        pair = opened(question, rng) if rng.random() < 0.3 else question, answer
        if pair not in found:
            found.append(pair)
    rng.shuffle(found)
    return found


def every_text() -> list[str]:
    """Every question and every kind of answer once, for the tokenizer's word list."""
    texts = ["Yes.", "No.", UNKNOWN, "There is no text.", "lines of text", "the word the number", "and"]
    ends = " ".join(ENDINGS)
    for trained, held in PHRASINGS.values():
        for phrasing in trained + held:
            blank = {
                k: "" for k in ("many", "a", "one", "two", "color", "side", "way", "more", "sort", "nth", "n")
            }
            texts.append(phrasing.format(**{"in": ends}, **blank))
    texts += [" " + w for w in [*WAYS.values(), *WAYS, *NTH, "last", "bigger", "smaller", "word", "number"]]
    for name in range(len(world.NAMES)):
        texts += [
            sentence(a(name)),
            "These are " + many(name),
            " " + a(name),
            " " + noun(name),
            " " + many(name),
        ]
    return texts + [
        f(c) for c in world.COLOUR_NAMES for f in (sentence, lambda c: " " + c, lambda c: "A " + c)
    ]


def caption(scene: dict) -> str:
    return Facts(scene).describe() if scene["things"] or scene["texts"] else "A picture."
