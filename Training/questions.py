"""From a scene's description to questions and answers, in phrasings to train on and phrasings held out."""

import random

import vocabulary

# task -> (phrasings trained on, phrasings held out)
PHRASINGS = {
    "name": (
        [
            "What is this?",
            "What is shown in the picture?",
            "What is in the image?",
            "What object is this?",
            "Name the object.",
            "What can you see?",
        ],
        ["What does the image show?", "Which object is in the picture?"],
    ),
    "these": (
        ["What are these?", "What are the objects?", "Name the objects."],
        ["Which objects are these?"],
    ),
    "left": (
        [
            "What is on the left?",
            "What is on the left side?",
            "Name the object on the left.",
            "What do you see on the left?",
        ],
        ["Which object is on the left?"],
    ),
    "right": (
        [
            "What is on the right?",
            "What is on the right side?",
            "Name the object on the right.",
            "What do you see on the right?",
        ],
        ["Which object is on the right?"],
    ),
    "count": (
        [
            "How many {many} are there?",
            "How many {many} are in the image?",
            "How many {many} do you see?",
            "Count the {many}.",
            "What is the number of {many}?",
        ],
        ["How many {many} are in the picture?", "How many {many} can you see?"],
    ),
    "read": (
        [
            "What does it say?",
            "Read the word.",
            "What word is this?",
            "What is written here?",
            "What does the text say?",
            "Read the text.",
            "What is the word?",
        ],
        ["Which word is shown?", "What is the word in the image?"],
    ),
    "exists": (
        [
            "Is there {a}?",
            "Is there {a} in the image?",
            "Do you see {a}?",
            "Can you see {a}?",
            "Does the image show {a}?",
        ],
        ["Is there {a} here?", "Is {a} in the picture?"],
    ),
    "text": (["Is there a word?", "Is there any text?", "Do you see a word?"], ["Can you see any text?"]),
    "color": (
        ["What color is the background?", "What is the background color?", "Which color is the background?"],
        ["Name the background color."],
    ),
    "describe": (
        ["Describe the image.", "Describe the picture.", "What do you see?", "Caption the image."],
        ["Describe this image."],
    ),
}
TASKS = list(PHRASINGS)
ARTICLE = {kind[0]: ("an " if kind[0][0] in "aeiou" else "a ") + kind[0] for kind in vocabulary.KINDS}


def one(kind: int) -> str:
    return ARTICLE[vocabulary.KINDS[kind][0]]


def many(kind: int) -> str:
    return vocabulary.KINDS[kind][1]


def sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def numbered(kind: int, count: int) -> str:
    return f"{count} {vocabulary.KINDS[kind][0] if count == 1 else many(kind)}"


def describe(scene: dict) -> str:
    if "word" in scene:
        return f'It says "{scene["word"]}".'
    if scene["family"] == "count":
        return sentence(" and ".join(numbered(k, n) for k, n in scene["things"]))
    text = " and ".join(one(k) for k, _ in scene["things"])
    return sentence(text)


def possible(scene: dict) -> list[str]:
    """The tasks that make sense for a scene."""
    tasks = ["exists", "text", "describe"]
    if scene["color"]:
        tasks.append("color")
    if "word" in scene:
        return tasks + ["read"]
    if scene["family"] == "pair":
        tasks += ["left", "right"]
    if len(scene["things"]) == 1:
        tasks.append("name" if scene["things"][0][1] == 1 else "these")
    return tasks + ["count"]


def ask(scene: dict, task: str, rng: random.Random, held: bool = False) -> tuple[str, str]:
    """A question of the task about the scene, and its answer."""
    phrasing = rng.choice(PHRASINGS[task][held])
    things = {k: n for k, n in scene.get("things", [])}
    absent = rng.choice([k for k in range(len(vocabulary.KINDS)) if k not in things])
    if task == "count":
        kind = absent if rng.random() < 0.12 else rng.choice(list(things))
        return phrasing.format(many=many(kind)), str(things.get(kind, 0))
    if task == "exists":
        kind = rng.choice(list(things)) if things and rng.random() < 0.5 else absent
        return phrasing.format(a=one(kind)), "Yes." if kind in things else "No."
    if task == "text":
        return phrasing, "Yes." if "word" in scene else "No."
    if task == "color":
        return phrasing, sentence(scene["color"])
    if task in ("left", "right"):
        return phrasing, sentence(one(scene[task]))
    if task == "name":
        return phrasing, sentence(one(scene["things"][0][0]))
    if task == "these":
        return phrasing, sentence(many(scene["things"][0][0]))
    if task == "read":
        return phrasing, scene["word"]
    return phrasing, describe(scene)


def several(scene: dict, number: int, rng: random.Random) -> list[tuple[str, str]]:
    """Different questions about one scene: the main task of its family first, then others, then repeats."""
    tasks = possible(scene)
    first = {
        "word": ["read"],
        "pair": ["left", "right", "exists"],
        "count": ["count", "exists"],
        "single": ["name", "exists"],
    }[scene["family"]]
    rest = [t for t in tasks if t not in first and (t != "text" or rng.random() < 0.25)]
    rng.shuffle(rest)
    chosen = (first + rest)[:number]
    while len(chosen) < number:
        chosen.append(rng.choice([t for t in tasks if t != "text"]))
    return [ask(scene, task, rng) for task in chosen]


def every_text() -> list[str]:
    """Every question and every kind of answer, for the tokenizer's word list."""
    texts = ["Yes.", "No.", "It says", "0 1 2 3 4 5 and"]
    for trained, held in PHRASINGS.values():
        for phrasing in trained + held:
            texts += [phrasing.format(a=one(k), many=many(k)) for k in range(len(vocabulary.KINDS))]
    for k in range(len(vocabulary.KINDS)):
        texts += [
            sentence(one(k)),
            sentence(many(k)),
            "A " + vocabulary.KINDS[k][0],
            numbered(k, 1),
            numbered(k, 2),
        ]
    return texts + [sentence(c) for c in vocabulary.COLOURS]
