"""The brush: backgrounds, pictures in two drawing styles, shapes and text. Places are in pixels.

Every random choice comes from the one generator of the `Brush`, so a seed gives the same pixels again.
"""

import colorsys
import io
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from synth import assets, world

LIGHT = np.array([0.3, 0.59, 0.11], np.float32)
SMALL = 256  # side of the smallest pictures that the model is made for


class Brush:
    def __init__(self, seed: int, side: int = 256):
        self.rng = np.random.default_rng(seed)
        self.side = side
        self.faces = assets.typefaces()
        self.fonts: dict[tuple[int, int], ImageFont.FreeTypeFont] = {}
        color = ImageFont.truetype(assets.find(assets.EMOJI), 109)
        line = ImageFont.truetype(assets.find(assets.LINE_ART), 120)
        self.pictures = [self._glyph(color, c) for c in world.CHARACTERS]
        self.drawings = [self._outline(line, c) for c in world.CHARACTERS]

    @staticmethod
    def _glyph(font, character: str) -> Image.Image:
        image = Image.new("RGBA", (160, 160))
        ImageDraw.Draw(image).text((10, 10), character, font=font, embedded_color=True)
        return image.crop(image.getbbox())

    @staticmethod
    def _outline(font, character: str) -> Image.Image | None:
        """The line drawing as a mask, or None where the font has no such character."""
        missing = font.getmask("\U0010fffe")
        mask = font.getmask(character)
        if mask.size == missing.size and bytes(mask) == bytes(missing):
            return None
        image = Image.new("L", (220, 220))
        ImageDraw.Draw(image).text((30, 20), character, fill=255, font=font)
        return image.crop(image.getbbox())

    # Dice

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def integer(self, low: int, high: int) -> int:
        """A number from low to high, both included."""
        return int(self.rng.integers(low, high + 1))

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def pick(self, options):
        return options[int(self.rng.integers(len(options)))]

    # Colours and backgrounds

    def shade(self, name: str) -> np.ndarray:
        (h0, h1), (s0, s1), (v0, v1) = world.COLOURS[name]
        rgb = colorsys.hsv_to_rgb(
            self.uniform(h0, h1) % 360 / 360, self.uniform(s0, s1), self.uniform(v0, v1)
        )
        return np.array(rgb, np.float32) * 255

    def ink(self, mean: np.ndarray, contrast: float = 85) -> tuple[int, int, int]:
        """A colour whose lightness differs clearly from the background's."""
        while True:
            ink = self.shade(self.pick(world.COLOUR_NAMES))
            if self.chance(0.4):
                ink = np.full(3, 0.0 if mean @ LIGHT > 128 else 255.0, np.float32)
            if abs(float((ink - mean) @ LIGHT)) > contrast:
                return tuple(int(v) for v in ink)

    def background(self, width: int, height: int) -> tuple[Image.Image, str | None, np.ndarray]:
        """The canvas, its colour's name if it has one, and its mean colour."""
        name = "white" if self.chance(0.15) else self.pick(world.COLOUR_NAMES)
        one, other = self.shade(name), self.shade(name)
        named: str | None = name
        style = self.rng.random()
        if style < 0.3:
            other = one
        elif style > 0.75:
            named, other = None, self.shade(self.pick(world.COLOUR_NAMES))
            if abs(one.mean() - other.mean()) > 90:  # keep text and pictures visible on both ends
                other = one + (other - one) * 0.4
        angle = self.uniform(0, 2 * math.pi)
        y = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None] * math.sin(angle)
        x = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :] * math.cos(angle)
        t = y + x
        if named is None and self.chance(0.4):
            t = np.sin(t * self.uniform(10, 60)) * 0.5  # stripes
        pixels = one + (other - one) * np.clip(t + 0.5, 0, 1)[..., None]
        if self.chance(0.3):
            noise = self.rng.integers(0, 256, (height, width, 1), dtype=np.uint8).astype(np.float32) - 128
            pixels = pixels + noise * self.uniform(0.02, 0.15)
        canvas = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        return canvas, named, (one + other) / 2

    # Things; x, y: centre in pixels, size: the longer side in pixels

    def picture(
        self, canvas: Image.Image, kind: int, size: float, x: float, y: float, turn: float, mean
    ) -> str:
        """Pastes a kind of picture in one of the drawing styles; returns the style."""
        drawing = self.drawings[kind]
        style = "line" if drawing is not None and self.chance(0.3) else "color"
        image = drawing if style == "line" else self.pictures[kind]
        scale = size / max(image.size)
        to = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(to, Image.Resampling.BILINEAR, reducing_gap=2.0)
        if self.chance(0.3) and world.KINDS[kind] not in world.NO_FLIP:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        image = image.rotate(turn, Image.Resampling.BILINEAR, expand=True)
        at = (round(x - image.width / 2), round(y - image.height / 2))
        if style == "line":
            canvas.paste(Image.new("RGB", image.size, self.ink(mean)), at, image)
        else:
            canvas.paste(image, at, image)
        return style

    def shape(self, canvas: Image.Image, shape: str, color: str, size: float, x: float, y: float) -> None:
        rgb = tuple(int(v) for v in self.shade(color))
        big = 3  # drawn large and scaled down, for smooth edges
        side = max(6, round(size)) * big
        mask = Image.new("L", (side, side))
        draw, edge = ImageDraw.Draw(mask), side - 1
        if shape == "circle":
            draw.ellipse((0, 0, edge, edge), 255)
        elif shape == "oval":
            draw.ellipse((0, side * 0.22, edge, side * 0.78), 255)
        elif shape == "rectangle":
            draw.rectangle((0, side * 0.24, edge, side * 0.76), 255)
        elif shape == "square":
            draw.rectangle((side * 0.08, side * 0.08, side * 0.92, side * 0.92), 255)
        else:
            draw.polygon([(px * edge, py * edge) for px, py in POLYGONS[shape]], 255)
        turn = {"square": 12, "rectangle": 90, "oval": 90, "arrow": 180}.get(shape, 15)
        mask = mask.rotate(self.uniform(-turn, turn), Image.Resampling.BILINEAR, expand=True)
        small = (max(1, mask.width // big), max(1, mask.height // big))
        mask = mask.resize(small, Image.Resampling.BOX)
        at = (round(x - mask.width / 2), round(y - mask.height / 2))
        canvas.paste(Image.new("RGB", mask.size, rgb), at, mask)

    def font(self, face: int, size: int) -> ImageFont.FreeTypeFont:
        if (face, size) not in self.fonts:
            self.fonts[face, size] = ImageFont.truetype(self.faces[face], size)
        return self.fonts[face, size]

    def text(
        self, canvas: Image.Image, text: str, box: tuple, ink, face: int, turn: float, tilt: float = 0.0
    ) -> dict:
        """Writes `text` as large as `box` (x0, y0, x1, y1 in pixels) allows, somewhere in it.

        `tilt` above 0 gives it perspective: every corner is moved inwards by up to that share of the height.
        Returns its centre and height and the centre of every sign, in pixels.
        """
        wide, high = box[2] - box[0], box[3] - box[1]
        x0, y0, x1, y1 = self.font(face, 60).getbbox(text)
        s, c = abs(math.sin(math.radians(turn))), math.cos(math.radians(turn))
        w, h = x1 - x0 + 8, y1 - y0 + 8
        scale = min(wide / (w * c + h * s), high / (w * s + h * c), 130 / 60 * self.side / 256)
        font = self.font(face, max(8, int(60 * scale) // 2 * 2))
        x0, y0, x1, y1 = font.getbbox(text)
        mask = Image.new("L", (int(x1 - x0) + 8, int(y1 - y0) + 8))
        ImageDraw.Draw(mask).text((4 - x0, 4 - y0), text, fill=255, font=font)
        flat, bend = mask.size, None
        if tilt:
            mask, bend = self.perspective(mask, tilt)
        if turn:
            mask = mask.rotate(turn, Image.Resampling.BILINEAR, expand=True)
        x = box[0] + self.uniform(0, 1) * max(0.0, wide - mask.width)
        y = box[1] + self.uniform(0, 1) * max(0.0, high - mask.height)
        canvas.paste(Image.new("RGB", mask.size, ink), (round(x), round(y)), mask)
        edges = [4 - x0 + font.getlength(text[:i]) for i in range(len(text) + 1)]
        sine, cosine = math.sin(math.radians(turn)), math.cos(math.radians(turn))
        cx, cy = x + mask.width / 2, y + mask.height / 2
        signs = []
        for a, b in zip(edges, edges[1:]):
            across, down = (a + b) / 2, flat[1] / 2
            if bend is not None:
                across, down = bend(across, down)
            across, down = across - flat[0] / 2, down - flat[1] / 2
            signs.append((cx + across * cosine + down * sine, cy - across * sine + down * cosine))
        return {"centre": (cx, cy), "height": flat[1] - 8, "signs": signs}

    def perspective(self, mask: Image.Image, tilt: float):
        """The mask as if seen from the side, in its own size, and the map from old places to new ones."""
        w, h = mask.size
        moved = [self.uniform(0, tilt) * h for _ in range(8)]
        corners = [(0, 0), (w, 0), (w, h), (0, h)]
        inward = [(1, 1), (-1, 1), (-1, -1), (1, -1)]
        new = [
            (x + dx * moved[2 * i], y + dy * moved[2 * i + 1])
            for i, ((x, y), (dx, dy)) in enumerate(zip(corners, inward))
        ]

        def solve(source, target):
            """The eight coefficients of the projective map from source to target corners."""
            rows, aims = [], []
            for (x, y), (u, v) in zip(source, target):
                rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
                aims += [u, v]
            return np.linalg.solve(np.array(rows, float), np.array(aims, float))

        back, there = solve(new, corners), solve(corners, new)

        def bend(x: float, y: float) -> tuple[float, float]:
            a, b, c, d, e, f, g, k = there
            return (a * x + b * y + c) / (g * x + k * y + 1), (d * x + e * y + f) / (g * x + k * y + 1)

        return mask.transform(
            mask.size, Image.Transform.PERSPECTIVE, tuple(back), Image.Resampling.BILINEAR
        ), bend

    def spoil(self, canvas: Image.Image) -> Image.Image:
        """Sometimes blur or JPEG artefacts; large scenes are often the enlargement of a small picture."""
        if self.side > SMALL and self.chance(0.5):
            canvas = canvas.resize((SMALL, SMALL), Image.Resampling.BICUBIC)
            canvas = canvas.resize((self.side, self.side), Image.Resampling.BICUBIC)
        if self.chance(0.1):
            canvas = canvas.filter(ImageFilter.GaussianBlur(self.uniform(0.3, 1.0) * self.side / 256))
        if self.chance(0.15):
            buffer = io.BytesIO()
            canvas.save(buffer, "JPEG", quality=self.integer(50, 92))
            canvas = Image.open(buffer).convert("RGB")
        return canvas


def _regular(corners: int) -> list[tuple[float, float]]:
    turns = [2 * math.pi * i / corners - math.pi / 2 for i in range(corners)]
    return [(0.5 + 0.5 * math.cos(t), 0.5 + 0.5 * math.sin(t)) for t in turns]


POLYGONS = {
    "triangle": [(0.5, 0.04), (0.98, 0.9), (0.02, 0.9)],
    "diamond": [(0.5, 0), (0.85, 0.5), (0.5, 1), (0.15, 0.5)],
    "pentagon": _regular(5),
    "hexagon": _regular(6),
    "cross": [
        *((0.35, 0), (0.65, 0), (0.65, 0.35), (1, 0.35), (1, 0.65), (0.65, 0.65)),
        *((0.65, 1), (0.35, 1), (0.35, 0.65), (0, 0.65), (0, 0.35), (0.35, 0.35)),
    ],
    "arrow": [(0, 0.35), (0.55, 0.35), (0.55, 0.1), (1, 0.5), (0.55, 0.9), (0.55, 0.65), (0, 0.65)],
}
