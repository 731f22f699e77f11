"""What the synthetic world contains: kinds of picture, shapes, colours, words. All else derives from this."""

import hashlib
import re

from synth import assets

# Singular, and the character of the emoji fonts that shows it. Plurals follow below.
PICTURES = """
dog 1F436|cat 1F431|fox 1F98A|panda 1F43C|lion 1F981|pig 1F437|frog 1F438|monkey 1F435|penguin 1F427
owl 1F989|bee 1F41D|butterfly 1F98B|turtle 1F422|fish 1F41F|octopus 1F419|elephant 1F418|crab 1F980
mouse 1F42D|rabbit 1F430|bear 1F43B|tiger 1F42F|cow 1F42E|horse 1F40E|sheep 1F411|chicken 1F414|duck 1F986
eagle 1F985|bat 1F987|snail 1F40C|spider 1F577|ant 1F41C|ladybug 1F41E|snake 1F40D|lizard 1F98E
crocodile 1F40A|whale 1F433|dolphin 1F42C|shark 1F988|shrimp 1F990|squid 1F991|camel 1F42B|gorilla 1F98D
unicorn 1F984|dragon 1F409|ghost 1F47B|robot 1F916|alien 1F47D|skull 1F480|apple 1F34E|banana 1F34C
lemon 1F34B|orange 1F34A|pear 1F350|grape 1F347|melon 1F348|watermelon 1F349|strawberry 1F353|cherry 1F352
peach 1F351|pineapple 1F34D|kiwi 1F95D|avocado 1F951|tomato 1F345|eggplant 1F346|carrot 1F955|corn 1F33D
potato 1F954|pizza 1F355|hamburger 1F354|hotdog 1F32D|taco 1F32E|donut 1F369|cookie 1F36A|cake 1F382
candy 1F36C|lollipop 1F36D|egg 1F95A|cheese 1F9C0|bread 1F35E|croissant 1F950|pretzel 1F968|tree 1F333
palm 1F334|cactus 1F335|sunflower 1F33B|rose 1F339|tulip 1F337|mushroom 1F344|clover 1F340|leaf 1F341
star 2B50|moon 1F319|sun 2600|cloud 2601|snowflake 2744|snowman 26C4|umbrella 2602|rainbow 1F308
volcano 1F30B|car 1F697|bus 1F68C|truck 1F69A|tractor 1F69C|bicycle 1F6B2|scooter 1F6F4|train 1F682
rocket 1F680|airplane 2708|helicopter 1F681|boat 26F5|ship 1F6A2|anchor 2693|house 1F3E0|castle 1F3F0
church 26EA|tent 26FA|fountain 26F2|key 1F511|lock 1F512|clock 23F0|watch 231A|book 1F4D5|pencil 270F
scissors 2702|camera 1F4F7|phone 1F4F1|computer 1F4BB|television 1F4FA|radio 1F4FB|lamp 1F4A1
flashlight 1F526|battery 1F50B|magnet 1F9F2|hammer 1F528|wrench 1F527|saw 1FA9A|axe 1FA93|guitar 1F3B8
violin 1F3BB|trumpet 1F3BA|piano 1F3B9|drum 1F941|microphone 1F3A4|ball 26BD|basketball 1F3C0|football 1F3C8
dice 1F3B2|dart 1F3AF|kite 1FA81|balloon 1F388|gift 1F381|trophy 1F3C6|medal 1F3C5|heart 2764|crown 1F451
ring 1F48D|hat 1F3A9|cap 1F9E2|shirt 1F455|dress 1F457|trousers 1F456|sock 1F9E6|shoe 1F45E|boot 1F462
glove 1F9E4|scarf 1F9E3|glasses 1F453|backpack 1F392|handbag 1F45C|bell 1F514|candle 1F56F|fire 1F525
bomb 1F4A3|bed 1F6CF|toilet 1F6BD|bathtub 1F6C1|door 1F6AA|chair 1FA91|basket 1F9FA|broom 1F9F9|spoon 1F944
knife 1F52A|cup 2615|bottle 1F37E|envelope 2709|flag 1F6A9|eye 1F441|hand 270B|foot 1F9B6|ear 1F442
nose 1F443|tooth 1F9B7|bone 1F9B4|motorcycle 1F3CD|taxi 1F695|ambulance 1F691|peanut 1F95C|popcorn 1F37F
bacon 1F953|wine 1F377|beer 1F37A|telescope 1F52D|microscope 1F52C|syringe 1F489|lipstick 1F484|pill 1F48A
"""
PLURALS = {
    "fish": "fish",
    "mouse": "mice",
    "sheep": "sheep",
    "shrimp": "shrimp",
    "octopus": "octopuses",
    "leaf": "leaves",
    "scarf": "scarves",
    "knife": "knives",
    "foot": "feet",
    "tooth": "teeth",
    "snowman": "snowmen",
    "scissors": "scissors",
    "trousers": "trousers",
    "glasses": "glasses",
    "dice": "dice",
    "corn": "corn",
    "bread": "loaves of bread",
    "cheese": "pieces of cheese",
    "tomato": "tomatoes",
    "potato": "potatoes",
    "popcorn": "popcorn",
    "bacon": "strips of bacon",
    "wine": "glasses of wine",
}
SOME = {
    "scissors",
    "trousers",
    "glasses",
    "corn",
    "bread",
    "cheese",
    "fire",
    "dice",
    "popcorn",
    "bacon",
    "wine",
}
NO_FLIP = {"clock", "watch"}  # their mirror images are wrong pictures


def plural(word: str) -> str:
    if word in PLURALS:
        return PLURALS[word]
    if word.endswith(("s", "x", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


def article(word: str) -> str:
    if word in SOME:
        return "some " + word
    return ("an " if word[0] in "aeio" and word != "unicorn" else "a ") + word


_entries = [entry.rsplit(" ", 1) for line in PICTURES.split("\n") for entry in line.split("|") if entry]
KINDS = [name for name, _ in _entries]
CHARACTERS = [chr(int(code, 16)) for _, code in _entries]
SHAPES = [
    "circle",
    "square",
    "triangle",
    "diamond",
    "pentagon",
    "hexagon",
    "cross",
    "arrow",
    "oval",
    "rectangle",
]
NAMES = KINDS + SHAPES  # a thing is an index into this list

# What could be called by one another's name: never in one picture, and never asked about where the other is shown.
ALIKE = [
    *(
        ("ball", "basketball", "football"),
        ("car", "taxi"),
        ("tree", "palm"),
        ("fish", "shark", "dolphin", "whale"),
    ),
    *(("hat", "cap"), ("shoe", "boot"), ("house", "castle", "church"), ("boat", "ship"), ("clock", "watch")),
    *(
        ("lamp", "flashlight"),
        ("melon", "watermelon"),
        ("leaf", "clover"),
        ("bottle", "wine"),
        ("lizard", "crocodile"),
    ),
    *(("square", "rectangle", "diamond"), ("circle", "oval")),
]


def alike(one: int, two: int) -> bool:
    """Whether two names, given by their index, are the same or could be mistaken for one another."""
    return one == two or any(NAMES[one] in group and NAMES[two] in group for group in ALIKE)


# name -> (hue range in degrees, saturation range, value range)
COLOURS = {
    "red": ((-8, 8), (0.65, 1.0), (0.65, 1.0)),
    "orange": ((25, 36), (0.75, 1.0), (0.85, 1.0)),
    "yellow": ((50, 60), (0.65, 1.0), (0.9, 1.0)),
    "green": ((95, 145), (0.5, 1.0), (0.4, 0.9)),
    "blue": ((205, 235), (0.55, 1.0), (0.5, 1.0)),
    "purple": ((268, 288), (0.5, 1.0), (0.4, 0.85)),
    "pink": ((318, 340), (0.25, 0.5), (0.92, 1.0)),
    "brown": ((18, 30), (0.6, 0.9), (0.3, 0.5)),
    "white": ((0, 360), (0.0, 0.04), (0.95, 1.0)),
    "gray": ((0, 360), (0.0, 0.06), (0.4, 0.65)),
    "black": ((0, 360), (0.0, 0.1), (0.0, 0.14)),
}
COLOUR_NAMES = list(COLOURS)

# What a single sign of text may be; the reading heads tell these apart.
SIGNS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.,:$%/-"
SHORTEST, LONGEST = 3, 7  # letters of a word to read
MOST, MORE = 9, 12  # largest count of the first and of the second tier
RUDE = ("shit", "fuck", "cunt", "cock", "dick", "tits", "nigg", "piss", "slut", "whor", "fag", "porn")


def is_held_out(text: str) -> bool:
    """One word in ten never appears in a training image; a number is judged by its digits."""
    return hashlib.sha256(text.lower().encode()).digest()[0] % 10 == 0


def words() -> tuple[list[str], list[str]]:
    """The lower-case words to train on and the words held out."""
    with open(assets.find(assets.WORDS), encoding="utf-8") as file:
        found = [w.strip() for w in file]
    pattern = re.compile(f"[a-z]{{{SHORTEST},{LONGEST}}}")
    found = sorted({w for w in found if pattern.fullmatch(w) and not any(stem in w for stem in RUDE)})
    return [w for w in found if not is_held_out(w)], [w for w in found if is_held_out(w)]
