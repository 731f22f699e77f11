"""Draws the synthetic scenes: one picture, several of a kind among others, two side by side, or a word.

`Painter.paint` returns a 256x256 RGB image and its description, a plain dict:
    {"family": "single|count|pair|word", "color": name or None, "things": [[kind, count], ...],
     "left": kind, "right": kind, "word": text, "letters": [[x, y] of each letter's centre, ...]}
with only the keys that apply. Kinds are indices into vocabulary.KINDS; things[0] is the main kind.
"""

import colorsys
import io
import math
import subprocess

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

import vocabulary

SIDE = 256
FAMILIES = ("word", "single", "count", "pair")
SHARES = (0.46, 0.17, 0.22, 0.15)
FACES = {
    "regular",
    "bold",
    "semibold",
    "black",
    "medium",
    "heavy",
    "book",
    "demibold",
    "extrabold",
    "roman",
}
AVOID = ("mono", "emoji", "symbol", "dings", "math", "initial", "libertine display", "webfont")


def typefaces() -> list[str]:
    """Files of the upright text typefaces that fontconfig knows, one per family and style."""
    listing = subprocess.run(
        ["fc-list", "--format", "%{family[0]}|%{style[0]}|%{file}\n"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    chosen = {}
    for line in sorted(listing.splitlines()):
        family, style, path = line.split("|")
        if style.lower() in FACES and not any(a in family.lower() for a in AVOID):
            if "noto" not in family.lower():
                chosen.setdefault((family, style), path)
    return list(chosen.values())


class Painter:
    def __init__(self, seed: int, words: list[str], pseudo: float = 0.3):
        """`pseudo` is the share of words that are random letters, so that letters are read, not guessed."""
        self.rng = np.random.default_rng(seed)
        self.words, self.pseudo = words, pseudo
        emoji = ImageFont.truetype("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf", 109)
        self.pictures = [self._glyph(emoji, kind[2]) for kind in vocabulary.KINDS]
        self.faces = typefaces()
        self.fonts: dict[tuple[int, int], ImageFont.FreeTypeFont] = {}

    @staticmethod
    def _glyph(font, character: str) -> Image.Image:
        image = Image.new("RGBA", (160, 160))
        ImageDraw.Draw(image).text((10, 10), character, font=font, embedded_color=True)
        return image.crop(image.getbbox())

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def integer(self, low: int, high: int) -> int:
        """A number from low to high, both included."""
        return int(self.rng.integers(low, high + 1))

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    # Colours and backgrounds

    def shade(self, name: str) -> np.ndarray:
        (h0, h1), (s0, s1), (v0, v1) = vocabulary.COLOURS[name]
        rgb = colorsys.hsv_to_rgb(
            self.uniform(h0, h1) % 360 / 360, self.uniform(s0, s1), self.uniform(v0, v1)
        )
        return np.array(rgb, np.float32) * 255

    def background(self, width: int, height: int) -> tuple[np.ndarray, str | None, np.ndarray]:
        """Pixels, the colour's name if it has one, and the mean colour."""
        name = str(self.rng.choice(list(vocabulary.COLOURS)))
        one, other = self.shade(name), self.shade(name)
        named: str | None = name
        style = self.rng.random()
        if style < 0.25:
            other = one
        elif style > 0.7:
            named, other = None, self.shade(str(self.rng.choice(list(vocabulary.COLOURS))))
            if abs(one.mean() - other.mean()) > 90:  # keep text and pictures visible on both ends
                other = one + (other - one) * 0.4
        angle = self.uniform(0, 2 * math.pi)
        y = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None] * math.sin(angle)
        x = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :] * math.cos(angle)
        t = y + x
        if named is None and self.chance(0.4):
            t = np.sin(t * self.uniform(10, 60)) * 0.5  # stripes
        t = np.clip(t + 0.5, 0, 1)[..., None]
        pixels = one + (other - one) * t
        if self.chance(0.4):
            noise = self.rng.integers(0, 256, (height, width, 1), dtype=np.uint8).astype(np.float32) - 128
            pixels = pixels + noise * self.uniform(0.02, 0.15)
        return np.clip(pixels, 0, 255).astype(np.uint8), named, (one + other) / 2

    # Pictures

    def paste(self, canvas: Image.Image, kind: int, size: float, x: float, y: float, turn: float) -> None:
        """Puts a picture of about `size` pixels with its centre at (x, y)."""
        picture = self.pictures[kind]
        scale = size / max(picture.size)
        picture = picture.resize(
            (max(1, round(picture.width * scale)), max(1, round(picture.height * scale))),
            Image.Resampling.BILINEAR,
            reducing_gap=2.0,
        )
        if self.chance(0.3) and kind != CLOCK:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        picture = picture.rotate(turn, Image.Resampling.BILINEAR, expand=True)
        canvas.paste(picture, (round(x - picture.width / 2), round(y - picture.height / 2)), picture)

    def places(self, number: int, width: int, height: int) -> tuple[list[tuple[float, float]], float]:
        """Centres of `number` pictures that do not overlap, and their size."""
        size = min(self.uniform(56, 88), 0.9 * min(width, height), 0.62 * math.sqrt(width * height / number))
        while True:
            found: list[tuple[float, float]] = []
            for _ in range(60):
                x, y = self.uniform(size / 2, width - size / 2), self.uniform(size / 2, height - size / 2)
                if all(max(abs(x - a), abs(y - b)) > size * 1.02 for a, b in found):
                    found.append((x, y))
                    if len(found) == number:
                        return found, size
            size *= 0.9

    def some_kinds(self, number: int) -> list[int]:
        return [int(k) for k in self.rng.choice(len(vocabulary.KINDS), number, replace=False)]

    def single(self, canvas: Image.Image) -> dict:
        width, height = canvas.size
        (kind,) = self.some_kinds(1)
        size = min(width, height) * self.uniform(0.38, 0.95)
        room_x, room_y = (width - size) / 2, (height - size) / 2
        x, y = width / 2 + self.uniform(-1, 1) * room_x, height / 2 + self.uniform(-1, 1) * room_y
        self.paste(canvas, kind, size, x, y, self.uniform(-25, 25))
        return {"things": [[kind, 1]]}

    def count(self, canvas: Image.Image) -> dict:
        width, height = canvas.size
        main, other = self.some_kinds(2)
        number = self.integer(1, vocabulary.MOST)
        extra = self.integer(1, 3) if self.chance(0.4) else 0
        centres, size = self.places(number + extra, width, height)
        for i, (x, y) in enumerate(centres):
            kind = main if i < number else other
            self.paste(canvas, kind, size * self.uniform(0.85, 1.0), x, y, self.uniform(-20, 20))
        return {"things": [[main, number]] + ([[other, extra]] if extra else [])}

    def pair(self, canvas: Image.Image) -> dict:
        width, height = canvas.size
        left, right = self.some_kinds(2)
        for kind, centre in ((left, 0.25), (right, 0.75)):
            size = min(width * 0.47, height * 0.9) * self.uniform(0.65, 1.0)
            room = max(0.0, height - size) / 2
            x = width * centre + self.uniform(-0.03, 0.03) * width
            self.paste(
                canvas, kind, size, x, height / 2 + self.uniform(-0.8, 0.8) * room, self.uniform(-20, 20)
            )
        return {"things": [[left, 1], [right, 1]], "left": left, "right": right}

    # Words

    def word(self, canvas: Image.Image, mean: np.ndarray) -> dict:
        width, height = canvas.size
        if self.chance(self.pseudo):
            letters = self.rng.choice(list(vocabulary.LETTERS), self.integer(3, vocabulary.LONGEST))
            text = "".join(str(c) for c in letters)
        else:
            text = self.words[self.integer(0, len(self.words) - 1)]
        face = self.integer(0, len(self.faces) - 1)
        wanted = width * self.uniform(0.72, 0.95)
        x0, y0, x1, y1 = self._font(face, 60).getbbox(text)
        scale = min(wanted / (x1 - x0), height * 0.8 / (y1 - y0), 130 / 60)
        font = self._font(face, max(16, int(60 * scale) // 3 * 3))
        x0, y0, x1, y1 = font.getbbox(text)
        mask = Image.new("L", (x1 - x0 + 8, y1 - y0 + 8))
        ImageDraw.Draw(mask).text((4 - x0, 4 - y0), text, fill=255, font=font)
        turn, flat = self.uniform(-4, 4), mask.size
        mask = mask.rotate(turn, Image.Resampling.BILINEAR, expand=True)
        ink = self._ink(mean)
        room_x = max(0.0, width - mask.width) / 2
        room_y = max(0.0, height - mask.height) / 2
        x = (width - mask.width) / 2 + self.uniform(-0.8, 0.8) * room_x
        y = (height - mask.height) / 2 + self.uniform(-0.35, 0.35) * room_y
        canvas.paste(Image.new("RGB", mask.size, ink), (round(x), round(y)), mask)
        edges = [4 - x0 + font.getlength(text[:i]) for i in range(len(text) + 1)]
        sine, cosine = math.sin(math.radians(turn)), math.cos(math.radians(turn))
        centres = []  # of the letters, which lie on the mask's middle line
        for a, b in zip(edges, edges[1:]):
            along = (a + b) / 2 - flat[0] / 2
            centres.append(
                [round(x + mask.width / 2 + along * cosine), round(y + mask.height / 2 - along * sine)]
            )
        return {"word": text, "letters": centres}

    def _font(self, face: int, size: int) -> ImageFont.FreeTypeFont:
        if (face, size) not in self.fonts:
            self.fonts[face, size] = ImageFont.truetype(self.faces[face], size)
        return self.fonts[face, size]

    def _ink(self, mean: np.ndarray) -> tuple[int, int, int]:
        """A colour whose lightness differs clearly from the background's."""
        light = np.array([0.3, 0.59, 0.11], np.float32)
        while True:
            ink = self.shade(str(self.rng.choice(list(vocabulary.COLOURS))))
            if self.chance(0.4):
                ink = np.full(3, 0.0 if mean @ light > 128 else 255.0)
            if abs((ink - mean) @ light) > 85:
                return tuple(int(v) for v in ink)

    # The whole

    def paint(self, family: str | None = None) -> tuple[Image.Image, dict]:
        family = family or str(self.rng.choice(FAMILIES, p=SHARES))
        width = height = SIDE
        if self.chance(0.2):  # not square: padded with black to the square, as the preprocessing does
            short = self.integer(150, 240)
            width, height = (SIDE, short) if family == "word" or self.chance(0.5) else (short, SIDE)
        pixels, color, mean = self.background(width, height)
        canvas = Image.fromarray(pixels)
        if family == "word":
            scene = self.word(canvas, mean)
        else:
            scene = getattr(self, family)(canvas)
        scene.update(family=family, color=color)
        if self.chance(0.1):
            canvas = canvas.filter(ImageFilter.GaussianBlur(self.uniform(0.3, 1.0)))
        if (width, height) != (SIDE, SIDE):
            square = Image.new("RGB", (SIDE, SIDE))
            left, top = (SIDE - width) // 2, (SIDE - height) // 2
            square.paste(canvas, (left, top))
            canvas = square
            scene["letters"] = [[x + left, y + top] for x, y in scene.get("letters", [])]
        if self.chance(0.15):
            buffer = io.BytesIO()
            canvas.save(buffer, "JPEG", quality=self.integer(50, 92))
            canvas = Image.open(buffer).convert("RGB")
        return canvas, scene


CLOCK = next(i for i, kind in enumerate(vocabulary.KINDS) if kind[0] == "clock")
