"""Draws the synthetic scenes and says what is in them.

`Painter.paint` returns a square RGB image and its description, a plain dict:
    {"family": ..., "ground": colour name or None,
     "things": [{"name": index into world.NAMES, "at": [x, y], "size": s, "style": ..., "color": name}, ...],
     "texts": [{"text": ..., "at": [x, y], "size": height, "signs": [[x, y], ...]}, ...]}
Places and sizes are fractions of the image's side; only shapes have a colour.
"""

import colorsys
import math

from PIL import Image

from synth import world
from synth.draw import Brush

SHARES = {
    "single": 0.11,
    "pair": 0.15,
    "group": 0.22,
    "shapes": 0.12,
    "word": 0.22,
    "lines": 0.10,
    "mixed": 0.08,
    "crowd": 0.0,  # by name only
}
KINDS = len(world.KINDS)


class Painter(Brush):
    def __init__(
        self,
        seed: int,
        words: list[str],
        invented: float = 0.15,
        held: bool = False,
        side: int = 256,
        most: int = world.MOST,
    ):
        """`invented`: share of words that are random letters, so that letters are read and not guessed.

        `most`: pictures of a kind in the largest group. `held`: only numbers that training never draws;
        otherwise only such as training may draw.
        """
        super().__init__(seed, side)
        self.words, self.invented, self.held, self.most = words, invented, held, most
        self.only: int | None = None  # the kind that "single" must show, where it matters
        self.least = 0.35  # size of the smallest picture of "single"
        self.fewest = 1  # pictures of the main kind in the smallest group
        self.families, self.shares = list(SHARES), list(SHARES.values())

    # Choices

    def kinds(self, number: int) -> list[int]:
        """Different kinds, none of which could be mistaken for another."""
        found: list[int] = []
        while len(found) < number:
            kind = self.integer(0, KINDS - 1)
            if not any(world.alike(kind, other) for other in found):
                found.append(kind)
        return found

    def number(self) -> str:
        while True:
            style = self.rng.random()
            if style < 0.7:
                text = str(self.integer(0, 10 ** self.integer(1, 5) - 1))
            elif style < 0.85:
                text = f"${self.integer(0, 99)}.{self.integer(0, 99):02d}"
            elif style < 0.9:
                text = f"{self.integer(0, 23)}:{self.integer(0, 59):02d}"
            elif style < 0.95:
                text = f"{self.integer(1, 31)}/{self.integer(1, 12)}"
            else:
                text = f"{self.integer(1, 99)}%"
            if len(text) < 3 or world.is_held_out(text) == self.held:
                return text

    def writing(self, longest: int = world.LONGEST) -> str:
        """A word in one of three cases, or a number."""
        if self.chance(0.3):
            return self.number()
        if self.chance(self.invented):
            letters = self.rng.choice(list("abcdefghijklmnopqrstuvwxyz"), self.integer(3, longest))
            word = "".join(str(c) for c in letters)
        else:
            word = self.pick(self.words)
        return self.pick((word, word.upper(), word.capitalize()))

    # Parts

    def put(
        self, canvas: Image.Image, scene: dict, name: int, x: float, y: float, size: float, mean, color=None
    ):
        if name < KINDS:
            style = self.picture(canvas, name, size, x, y, self.uniform(-20, 20), mean)
            thing = {"name": name, "style": style}
        else:
            self.shape(canvas, world.NAMES[name], color, size, x, y)
            thing = {"name": name, "color": color}
        thing |= {"at": self.place(x, y), "size": round(size / self.side, 3)}
        scene["things"].append(thing)

    def place(self, x: float, y: float) -> list[float]:
        return [round((x + self.left) / self.side, 3), round((y + self.top) / self.side, 3)]

    def write(
        self, canvas: Image.Image, scene: dict, text: str, box, mean, turn: float | None = None
    ) -> None:
        face = self.integer(0, len(self.faces) - 1)
        if turn is None:
            turn = self.uniform(-5, 5) if self.chance(0.6) else 0.0
        tilt = self.uniform(0.1, 0.35) if self.chance(0.2) else 0.0
        ink = self.ink(mean, 45 if self.chance(0.15) else 85)  # sometimes of low contrast
        found = self.text(canvas, text, box, ink, face, turn, tilt)
        signs = [self.place(x, y) for x, y in found["signs"]]
        written = {"text": text, "at": self.place(*found["centre"]), "signs": signs}
        scene["texts"].append(written | {"size": round(found["height"] / self.side, 3)})

    def spots(self, number: int, width: int, height: int) -> tuple[list[tuple[float, float]], float]:
        """Centres of `number` things that do not overlap, and their size."""
        size = min(self.uniform(0.17, 0.42) * self.side, 0.9 * min(width, height))
        size = min(size, 0.66 * math.sqrt(width * height / number))
        while True:
            found: list[tuple[float, float]] = []
            for _ in range(60 * number):
                x = self.uniform(size / 2, width - size / 2)
                y = self.uniform(size / 2, height - size / 2)
                if all((x - a) ** 2 + (y - b) ** 2 > (1.02 * size) ** 2 for a, b in found):
                    found.append((x, y))
                    if len(found) == number:
                        return found, size
            size *= 0.92

    def scatter(self, canvas, scene, names: list[int], mean) -> None:
        centres, size = self.spots(len(names), *canvas.size)
        for name, (x, y) in zip(names, centres):
            self.put(canvas, scene, name, x, y, size * self.uniform(0.85, 1.0), mean)

    # Families

    def single(self, canvas, scene, mean) -> None:
        width, height = canvas.size
        size = min(width, height) * self.uniform(self.least, 0.95)
        x = self.uniform(size / 2, width - size / 2)
        y = self.uniform(size / 2, height - size / 2)
        kind = self.integer(0, KINDS - 1)
        self.put(canvas, scene, kind if self.only is None else self.only, x, y, size, mean)

    def group(self, canvas, scene, mean) -> None:
        main, *others = self.kinds(3)
        names = [main] * self.integer(self.fewest, self.most)
        for other in others[: self.integer(0, 2)]:
            names += [other] * self.integer(1, 3)
        self.scatter(canvas, scene, names, mean)

    def crowd(self, canvas, scene, mean) -> None:
        """Several kinds with several pictures each: many different counts to ask for in one image."""
        names: list[int] = []
        for kind in self.kinds(self.integer(2, 5)):
            names += [kind] * self.integer(1, 5)
        self.scatter(canvas, scene, names[:14], mean)

    def pair(self, canvas, scene, mean) -> None:
        """Two things beside or above one another, often of different size."""
        width, height = canvas.size
        beside = self.chance(0.5)
        along, across = (width, height) if beside else (height, width)
        big = min(along * 0.5, across * 0.92) * self.uniform(0.6, 1.0)
        sizes = [big, big * (self.uniform(0.45, 0.65) if self.chance(0.6) else self.uniform(0.9, 1.0))]
        if self.chance(0.5):
            sizes.reverse()
        colors = [self.pick(world.COLOUR_NAMES) for _ in range(2)]
        names = self.kinds(2)
        for i in range(2):
            if self.chance(0.15):
                names[i], colors[i] = self.figure(scene, [world.NAMES[n] for n in names])
            a = along * (0.25 + 0.5 * i) + self.uniform(-0.03, 0.03) * along
            free = max(0.0, across - sizes[i]) / 2
            b = across / 2 + self.uniform(-0.8, 0.8) * free
            x, y = (a, b) if beside else (b, a)
            self.put(canvas, scene, names[i], x, y, sizes[i], mean, colors[i])

    def figure(self, scene, used: list[str]) -> tuple[int, str]:
        """A shape and a colour that stand out from the background and from what is there."""
        taken = [world.NAMES.index(name) for name in used]
        free = [s for s in world.SHAPES if not any(world.alike(world.NAMES.index(s), t) for t in taken)]
        shape = self.pick(free)
        near = {"orange": ("brown", "yellow"), "brown": ("orange", "black"), "white": ("pink", "gray")}
        while True:
            color = self.pick(world.COLOUR_NAMES)
            ground = scene["around"]
            if all(
                color != g and color not in near.get(g, ()) and g not in near.get(color, ()) for g in ground
            ):
                return KINDS + world.SHAPES.index(shape), color

    def shapes(self, canvas, scene, mean) -> None:
        number = self.integer(1, 5)
        centres, size = self.spots(number, *canvas.size)
        used: list[str] = []
        for x, y in centres:
            name, color = self.figure(scene, used)
            used.append(world.NAMES[name])
            copies = scene["things"] and self.chance(0.15)
            if copies:  # a second one of the same shape, so that shapes can be counted
                name = scene["things"][-1]["name"]
            self.put(canvas, scene, name, x, y, size * self.uniform(0.75, 1.0), mean, color)

    def word(self, canvas, scene, mean) -> None:
        width, height = canvas.size
        wide, high = width * self.uniform(0.6, 0.96), height * self.uniform(0.3, 0.85)
        x, y = self.uniform(0, width - wide), self.uniform(0, height - high)
        self.write(canvas, scene, self.writing(), (x, y, x + wide, y + high), mean)

    def lines(self, canvas, scene, mean) -> None:
        width, height = canvas.size
        number = self.integer(2, 4)
        turn = self.uniform(-3, 3)
        for i in range(number):
            top = height * (i + 0.12) / number
            box = (width * 0.03, top, width * 0.97, top + height * 0.78 / number)
            self.write(canvas, scene, self.writing(), box, mean, turn)

    def mixed(self, canvas, scene, mean) -> None:
        """A picture or two with a word above or below."""
        width, height = canvas.size
        share = self.uniform(0.25, 0.4) * height
        top = self.chance(0.5)
        box = (width * 0.03, 0.02 * height, width * 0.97, share - 0.02 * height)
        if not top:
            box = (box[0], height - box[3], box[2], height - box[1])
        self.write(canvas, scene, self.writing(), box, mean)
        names = self.kinds(self.integer(1, 2))
        for i, name in enumerate(names):
            room = width / len(names)
            size = min(room, height - share) * self.uniform(0.6, 0.95)
            y = (height + share) / 2 if top else (height - share) / 2
            self.put(canvas, scene, name, room * (i + 0.5), y, size, mean)

    def paint(self, family: str | None = None) -> tuple[Image.Image, dict]:
        family = family or str(self.rng.choice(self.families, p=self.shares))
        width = height = self.side
        if self.chance(0.2):  # not square: padded with black to the square, as the preprocessing does
            short = round(self.uniform(0.6, 0.95) * self.side)
            upright = family not in ("word", "lines", "mixed") and self.chance(0.5)
            width, height = (short, self.side) if upright else (self.side, short)
        self.left, self.top = (self.side - width) // 2, (self.side - height) // 2
        canvas, ground, mean = self.background(width, height)
        scene: dict = {"family": family, "ground": ground, "things": [], "texts": []}
        scene["around"] = self.named(mean) if ground is None else {ground}
        getattr(self, family)(canvas, scene, mean)
        del scene["around"]
        if (width, height) != (self.side, self.side):
            square = Image.new("RGB", (self.side, self.side))
            square.paste(canvas, (self.left, self.top))
            canvas = square
        return self.spoil(canvas), scene

    def named(self, mean) -> set[str]:
        """The colours that a shape on a mixed background could be taken for: those nearest to its mean."""
        centres = {}
        for name, ((h0, h1), (s0, s1), (v0, v1)) in world.COLOURS.items():
            rgb = colorsys.hsv_to_rgb((h0 + h1) / 2 % 360 / 360, (s0 + s1) / 2, (v0 + v1) / 2)
            centres[name] = sum((255 * c - m) ** 2 for c, m in zip(rgb, mean))
        return set(sorted(centres, key=centres.get)[:2])
