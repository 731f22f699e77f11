"""Where samples come from. A source has a length and sample(index, epoch) -> {"pixels": bytes [S, S, 3] or None,
or "features": {resolution: [T, C]}, "turns": [(question, answer), ...], "linked": bool}.

Every sample is a function of its index and the epoch, so a run can be resumed at any step. Whatever is wrong
with a sample is raised; the engine skips, counts and reports it.
"""

import io
import json
import math
import pathlib
import random
import struct

import numpy as np
from PIL import Image, ImageOps

from recipe.shards import Scenes
from recipe.tars import Tars, part


def square(image: Image.Image, side: int) -> np.ndarray:
    """Padded with black to a square and resized, as the runtime does for `image_aspect_ratio: pad`."""
    image.load()
    try:
        image = ImageOps.exif_transpose(image)
    except (SyntaxError, struct.error, ValueError, TypeError, KeyError):
        pass  # what is odd in the notes of a camera counts as upright, as in the runtime
    image = image.convert("RGB")
    longest = max(image.size)
    if longest**2 > 2 * Image.MAX_IMAGE_PIXELS:  # Pillow's own limit, which a long strip keeps before it is padded
        raise ValueError(f"{image.width} x {image.height} pixels are too many for a square")
    if image.size != (longest, longest):
        padded = Image.new("RGB", (longest, longest))
        padded.paste(image, ((longest - image.width) // 2, (longest - image.height) // 2))
        image = padded
    if longest != side:
        image = image.resize((side, side), Image.Resampling.BICUBIC)
    return np.array(image)


SPECIAL = ("<image>", "<|im_start|>", "<|im_end|>")  # in a text they would be taken for what they stand for


def turns_of(conversations: list[dict], pictured: bool) -> list[tuple[str, str]]:
    """LLaVA's human/gpt turns; the image's place in the text is the front, as in LLaVA's own training."""
    found = []
    if len(conversations) % 2:
        raise ValueError("the conversation ends with a turn that has no answer")
    for asked, said in zip(conversations[::2], conversations[1::2]):
        if asked["from"] != "human" or said["from"] != "gpt":
            raise ValueError("conversation does not alternate between human and gpt")
        if "<image>" in asked["value"] and not pictured:
            raise ValueError("the question has <image>, but the sample has no image")
        question = asked["value"].replace("<image>", "").strip()
        if not question or not said["value"].strip():
            raise ValueError("empty question or answer")
        if special := next((token for token in SPECIAL if token in question + said["value"]), None):
            raise ValueError(f"{special} in the text of a turn")
        found.append((question, said["value"].strip()))
    if not found:
        raise ValueError("no turn in the conversation")
    return found


class Llava:
    """A LLaVA JSON file: [{"id", "image": path (absent: text only), "conversations": [...]}, ...]."""

    def __init__(self, path: str, images: str = "", side: int = 256):
        self.entries = json.loads(pathlib.Path(path).read_text())
        self.images, self.side = pathlib.Path(images or pathlib.Path(path).parent), side

    def __len__(self) -> int:
        return len(self.entries)

    def sample(self, index: int, epoch: int = 0) -> dict:
        entry = self.entries[index]
        turns = turns_of(entry["conversations"], bool(entry.get("image")))
        pixels = None
        if entry.get("image"):
            with Image.open(self.images / entry["image"]) as image:
                pixels = square(image, self.side)
        return {"pixels": pixels, "turns": turns, "linked": True, "text": turns[0][1]}


class WebDataset:
    """Tar shards of KEY.jpg|png|webp with KEY.json (LLaVA's `conversations`) or KEY.txt (a caption)."""

    def __init__(self, path: str, side: int = 256):
        self.side, self.tars = side, Tars(path)

    def __len__(self) -> int:
        return len(self.tars)

    def sample(self, index: int, epoch: int = 0) -> dict:
        parts = self.tars.parts(index)
        image = next((k for k in ("jpg", "jpeg", "png", "webp") if k in parts), None)
        pixels = square(Image.open(io.BytesIO(part(parts[image]))), self.side) if image else None
        told = json.loads(part(parts["json"])) if "json" in parts else {}
        if "conversations" in told:  # img2dataset writes other things there
            turns = turns_of(told["conversations"], image is not None)
        elif image is None or "txt" not in parts:
            raise ValueError(f"no image with a .txt or with `conversations` in a .json, only {', '.join(sorted(parts))}")
        else:
            caption = [{"from": "human", "value": "Describe the image."}]
            caption.append({"from": "gpt", "value": part(parts["txt"]).decode()})
            turns = turns_of(caption, True)
        found = {"pixels": pixels, "turns": turns, "linked": True, "text": turns[0][1]}
        if "npz" in parts:  # a teacher's embeddings of the image and its text
            stored = np.load(io.BytesIO(part(parts["npz"])))
            found |= {"teacher_image": stored["image"], "teacher_text": stored["text"]}
        return found


class Synthetic:
    """Scenes painted when they are asked for; `length` of them to an epoch."""

    def __init__(
        self,
        length: int,
        side: int = 256,
        questions: int = 6,
        seed: int = 1,
        linked: float = 0.2,
        documents: float = 0.0,
        most: int = 9,
    ):
        self.length, self.side, self.questions, self.seed, self.linked = length, side, questions, seed, linked
        self.documents, self.most = documents, most
        self.painter = None

    def __len__(self) -> int:
        return self.length

    def sample(self, index: int, epoch: int = 0) -> dict:
        from synth import documents, questions, world
        from synth.scenes import Painter

        if self.painter is None:
            self.painter = Painter(0, world.words()[0], side=self.side, most=self.most)
        self.painter.rng = np.random.default_rng((self.seed, 7, epoch, index))
        sheet = self.documents and self.painter.chance(self.documents)
        image, scene = documents.paint(self.painter) if sheet else self.painter.paint()
        if not self.questions:
            return {"pixels": np.array(image), "scene": scene}
        rng = random.Random(f"{self.seed} {epoch} {index}")
        turns = questions.several(scene, self.questions, rng)
        linked = rng.random() < self.linked
        caption = questions.caption(scene)
        return {"pixels": np.array(image), "scene": scene, "turns": turns, "linked": linked, "text": caption}


class Painted:
    """Scenes rendered ahead, with their pixels or, where the encoder is frozen, its stored features."""

    def __init__(
        self,
        path: str,
        split: str,
        shards: int,
        size: int,
        side: int = 256,
        questions: int = 6,
        seed: int = 1,
        linked: float = 0.2,
        features: str | dict[str, str] = "",
        window: int = 2,
    ):
        """features: the file of those at the resolution `side`, or a file for every resolution. window: shards among which
        the first epoch is shuffled, so that it can begin while others are painted; 0: all, for shards of several families."""
        self.scenes = Scenes(path, split, shards, size, side)
        self.questions, self.seed, self.linked = questions, seed, linked
        files = features if isinstance(features, dict) else {side: features} if features else {}
        self.features = {int(at): self.stored(pathlib.Path(file), (int(at) // 64) ** 2) for at, file in files.items()}
        if window < 0:
            raise ValueError(f"data.window is {window}, expected a number of shards, or 0 for all")
        self.window = window * size if window and not files else None

    def __len__(self) -> int:
        return len(self.scenes)

    def stored(self, file: pathlib.Path, tokens: int) -> np.ndarray:
        channels, rest = divmod(file.stat().st_size, 2 * tokens * len(self.scenes))
        if rest or not channels:
            raise ValueError(f"{file} does not have {tokens} visual tokens for each of {len(self.scenes)} images")
        return np.memmap(file, np.float16, "r", shape=(len(self.scenes), tokens, channels))

    def sample(self, index: int, epoch: int = 0) -> dict:
        from synth import questions

        scene = self.scenes.scene(index)
        if not self.questions:  # only the scene and its pixels are wanted
            return {"pixels": np.array(self.scenes.pixels(index)), "scene": scene}
        rng = random.Random(f"{self.seed} {epoch} {index}")
        turns = questions.several(scene, self.questions, rng)
        linked, caption = rng.random() < self.linked, questions.caption(scene)
        found = {"turns": turns, "scene": scene, "linked": linked, "text": caption}
        if self.features:
            return found | {"features": {side: stored[index] for side, stored in self.features.items()}}
        return found | {"pixels": np.array(self.scenes.pixels(index))}


class Mixture:
    """Several sources one after the other, each repeated so that it makes up its share of an epoch."""

    def __init__(self, parts: list[tuple[object, float]]):
        self.parts = [source for source, _ in parts]
        total = sum(len(source) for source in self.parts)
        shares = [share or len(source) / total for source, share in parts]
        self.sizes = [max(1, math.floor(total * share / sum(shares))) for share in shares]

    def __len__(self) -> int:
        return sum(self.sizes)

    def sample(self, index: int, epoch: int = 0) -> dict:
        for source, size in zip(self.parts, self.sizes):
            if index < size:
                again, place = divmod(index + epoch * size, len(source))
                return source.sample(place, again)
            index -= size
        raise IndexError(index)


KINDS = {"llava": Llava, "webdataset": WebDataset, "synthetic": Synthetic, "painted": Painted}


def make(settings: dict):
    """A source from its settings: {"kind": ..., its arguments} or {"mixture": [{..., "share": 0.5}, ...]}."""
    if "mixture" in settings:
        parts = [dict(part) for part in settings["mixture"]]
        shares = [part.pop("share", 0.0) for part in parts]
        return Mixture([(make(part), share) for part, share in zip(parts, shares)])
    settings = dict(settings)
    kind = settings.pop("kind")
    if kind not in KINDS:
        raise ValueError(f'data.kind is "{kind}", expected one of {", ".join(KINDS)}')
    try:
        return KINDS[kind](**settings)
    except TypeError as error:  # an unknown setting, or one that is missing
        raise ValueError(f"data of kind {kind}: {error}") from None
