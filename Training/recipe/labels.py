"""Objective "labels": the encoder learns to see, through throw-away heads, what the generator knows for free.

For every picture, shape and letter of a scene a head must say what it is, from the features at its known
place: dozens of answers per image, which is what makes a short training on a CPU possible. Further heads
count, name what is present, and read a word without being told where its letters are. A language model's loss
on its own does not get an untrained encoder started.
"""

import pathlib

import torch
import torch.nn.functional as F
from synth import world
from torch import nn

from recipe import encoder as encoders
from recipe import sources
from recipe.shards import Sides

NAMES, SIGNS, COLOURS = len(world.NAMES), len(world.SIGNS), len(world.COLOURS)
THINGS, LETTERS = 20, 80  # at most this many of each are asked about per image
END = SIGNS  # the class of a slot behind the word's end
SLOTS = world.LONGEST


class Reader(nn.Module):
    """A learned query per letter of the word looks at the whole map: [N, H, W, C] -> [N, slots, signs + 1]."""

    def __init__(self, channels: int, width: int = 160):
        super().__init__()
        self.enter = nn.Linear(channels + 4, width)
        self.slots = nn.Parameter(torch.randn(SLOTS, width) * 0.3)
        layer = nn.TransformerDecoderLayer(width, 4, 2 * width, dropout=0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerDecoder(layer, 2, nn.LayerNorm(width))
        self.leave = nn.Linear(width, END + 1)

    def forward(self, cells):
        n, h, w, _ = cells.shape
        y, x = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
        places = torch.stack([x, y, (3 * x).sin(), (3 * y).sin()], -1).to(cells).expand(n, h, w, 4)
        memory = self.enter(torch.cat([cells, places], -1)).flatten(1, 2)
        return self.leave(self.layers(self.slots.expand(n, -1, -1), memory))


class Heads(nn.Module):
    def __init__(self, early: int, channels: int):
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.present = nn.Linear(channels, NAMES)
        self.density = nn.Linear(channels, NAMES)
        self.ground = nn.Linear(channels, COLOURS)
        self.spot = nn.Linear(early, NAMES + SIGNS + COLOURS)
        self.mix = nn.Sequential(nn.Linear(channels + 4, 384), nn.GELU())
        self.cell = nn.Linear(384, NAMES + SIGNS + COLOURS + SLOTS + 1)
        self.read = Reader(channels)
        nn.init.constant_(self.density.bias, -6.0)

    def forward(self, x, early, things, letters):
        """things, letters: [N, T, 2] places in 0...1. Returns logits by name."""
        cells = self.norm(x.permute(0, 2, 3, 1))
        places = torch.cat([things, letters], 1)
        grid = (places * 2 - 1)[:, None]
        spot = F.grid_sample(early, grid, align_corners=False)[:, :, 0].transpose(1, 2)
        normed = cells.permute(0, 3, 1, 2)
        around = F.grid_sample(normed, grid, mode="nearest", align_corners=False)[:, :, 0].transpose(1, 2)
        within = places * x.shape[-1] % 1 - 0.5  # where in its cell of the map
        return {
            "present": self.present(cells.amax((1, 2))),
            "density": F.softplus(self.density(cells)),
            "ground": self.ground(cells.mean((1, 2))),
            "spot": self.spot(spot),
            "cell": self.cell(self.mix(torch.cat([around, places, within], 2))),
            "read": self.read(cells),
        }


class Seeing(nn.Module):
    """batch -> losses."""

    def __init__(self, settings: dict):
        super().__init__()
        self.encoder = encoders.make_encoder(**settings)
        dims = self.encoder.sizes["embed_dims"]
        self.heads = Heads(dims[3], 2 * dims[4])

    def look(self, pixels):
        net = self.encoder
        x = net.stem(pixels)
        for i, stage in enumerate(net.stages):
            x = stage(x)
            if i == 3:
                early = x
        return net.final_conv(x), early

    def forward(self, batch):
        pixels = jitter(batch["pixels"]) if self.training else as_float(batch["pixels"])
        x, early = self.look(pixels)
        out = self.heads(x, early, batch["things_at"], batch["signs_at"])
        return out if not self.training else losses(out, batch)


def as_float(pixels):
    """[N, S, S, 3] bytes -> [N, 3, S, S] float in 0...1, channels last in memory."""
    return pixels.permute(0, 3, 1, 2).float().div_(255)


def jitter(pixels):
    """A little brightness, contrast and tint, so that a second visit to an image is not the same."""
    x = as_float(pixels)
    gain = 1 + 0.05 * torch.randn(len(x), 3, 1, 1)
    lift = 0.04 * torch.randn(len(x), 1, 1, 1)
    return (x * gain.to(x) + lift.to(x)).clamp_(0, 1)


def split_cell(cell):
    return cell.split([NAMES, SIGNS, COLOURS, SLOTS, 1], -1)


def entropy(logits: torch.Tensor, aims: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy where the aim is not -1; 0, with a gradient, where there is none."""
    if not (aims >= 0).any():
        return logits.sum() * 0
    return F.cross_entropy(logits.flatten(0, -2).float(), aims.flatten(), ignore_index=-1)


def losses(out: dict, want: dict) -> dict:
    spot_name, spot_sign, spot_color = out["spot"].split([NAMES, SIGNS, COLOURS], -1)
    name, sign, color, order, size = split_cell(out["cell"])
    t = want["things"].shape[1]

    present = (want["count"] > 0).float()
    there = present.sum(1) > 0
    share = present / present.sum(1, keepdim=True).clamp_min(1)
    found = {
        "spot_name": 0.4 * entropy(spot_name[:, :t], want["things"]),
        "spot_sign": 0.6 * entropy(spot_sign[:, t:], want["signs"]),
        "spot_color": 0.1 * entropy(spot_color[:, :t], want["colors"]),
        "name": 1.0 * entropy(name[:, :t], want["things"]),
        "sign": 1.0 * entropy(sign[:, t:], want["signs"]),
        "color": 0.3 * entropy(color[:, :t], want["colors"]),
        "order": 0.3 * entropy(order[:, t:], want["order"]),
        "ground": 0.2 * entropy(out["ground"], want["ground"]),
        "read": 1.0 * entropy(out["read"], want["word"]),
        "present": 0.7
        * (F.cross_entropy(out["present"][there], share[there]) if there.any() else 0 * out["present"].sum()),
        "count": F.poisson_nll_loss(
            out["density"].clamp_min(1e-6), crowd(want, out["density"].shape), log_input=False, reduction="sum"
        )
        / want["count"].sum().clamp_min(1),
    }
    sized = want["things"] >= 0
    found["size"] = (
        2.0 * (size[:, :t, 0][sized] - want["sizes"][sized]).abs().sum() / sized.sum().clamp_min(1)
    )
    return {"loss": sum(found.values()), **found}


def crowd(want: dict, shape: torch.Size) -> torch.Tensor:
    """Things per cell and name, [N, H, W, NAMES]: each is shared by the four cells whose centres surround its own."""
    out = want["things_at"].new_zeros(shape)
    image, slot = (want["things"] >= 0).nonzero(as_tuple=True)
    at = want["things_at"][image, slot] * torch.tensor([shape[2], shape[1]]).to(out) - 0.5
    low, name = at.floor(), want["things"][image, slot]
    for dx in (0, 1):
        for dy in (0, 1):
            corner = low + torch.tensor([dx, dy]).to(at)
            share = (1 - (at - corner).abs()).prod(1)
            x, y = corner.long().unbind(1)
            cell = (image, y.clamp(0, shape[1] - 1), x.clamp(0, shape[2] - 1), name)
            out.index_put_(cell, share, accumulate=True)
    return out


def targets(scenes: list[dict]) -> dict[str, torch.Tensor]:
    n = len(scenes)
    out = {
        "things": torch.full((n, THINGS), -1),
        "things_at": torch.zeros(n, THINGS, 2),
        "colors": torch.full((n, THINGS), -1),
        "sizes": torch.zeros(n, THINGS),
        "signs": torch.full((n, LETTERS), -1),
        "signs_at": torch.zeros(n, LETTERS, 2),
        "order": torch.full((n, LETTERS), -1),
        "count": torch.zeros(n, NAMES),
        "ground": torch.full((n,), -1),
        "word": torch.full((n, SLOTS), -1),
    }
    for i, scene in enumerate(scenes):
        if scene["ground"]:
            out["ground"][i] = world.COLOUR_NAMES.index(scene["ground"])
        for j, thing in enumerate(scene["things"]):
            out["count"][i, thing["name"]] += 1
            if j < THINGS:
                out["things"][i, j] = thing["name"]
                out["things_at"][i, j] = torch.tensor(thing["at"])
                out["sizes"][i, j] = thing["size"]
                if thing.get("color"):
                    out["colors"][i, j] = world.COLOUR_NAMES.index(thing["color"])
        signs = [
            (world.SIGNS.index(sign), at, order)
            for text in scene["texts"]
            for order, (sign, at) in enumerate(zip(text["text"], text["signs"]))
            if sign in world.SIGNS
        ]
        for j, (sign, at, order) in enumerate(signs[:LETTERS]):
            out["signs"][i, j], out["order"][i, j] = sign, min(order, SLOTS - 1)
            out["signs_at"][i, j] = torch.tensor(at)
        if len(scene["texts"]) == 1 and len(scene["texts"][0]["text"]) <= SLOTS:
            spelt = [world.SIGNS.index(c) for c in scene["texts"][0]["text"]]
            out["word"][i] = torch.tensor((spelt + [END] * SLOTS)[:SLOTS])
    return out


class Labels:
    """The objective that recipe.engine runs."""

    def __init__(self, config: dict):
        self.config = config
        self.module = Seeing(config["model"]["encoder"])
        data = dict(config["data"])
        self.sides, watched = Sides(data.pop("sides", None), config["seed"]), data.pop("watch", None)
        self.source = sources.make(data)
        self.watched = sources.make(watched) if watched else None
        start = config["start"].get("checkpoint")
        if start and not (pathlib.Path(config["out"]) / "checkpoint" / "complete").exists():
            self.begin(pathlib.Path(start))
        if config["train"]["fast_cpu"]:
            from recipe.fast_ops import accelerate

            self.module.encoder = accelerate(self.module.encoder)

    def begin(self, start: pathlib.Path) -> None:
        """Weights of an earlier run of this objective, or the encoder of an exported model."""
        if start.suffix == ".safetensors":
            from safetensors.torch import load_file

            prefix = "model.vision_tower.timm_model."
            state = {k[len(prefix) :]: v.float() for k, v in load_file(start).items() if k.startswith(prefix)}
            batches = [
                as_float(
                    torch.stack([torch.tensor(self.source.sample(i)["pixels"]) for i in range(a, a + 32)])
                )
                for a in range(0, 192, 32)
            ]
            encoders.unfold(self.module.encoder, state, batches)
        else:
            state = torch.load(start / "checkpoint" / "weights.pt", map_location="cpu")
            own = self.module.state_dict()
            fits = {k: v for k, v in state.items() if k in own and own[k].shape == v.shape}
            parts = (k for k in own.keys() | state.keys() if k.startswith("encoder."))
            if other := sorted(k for k in parts if k not in fits):
                raise ValueError(f"{start}: another encoder, or another form of it: {other[0]}")
            self.module.load_state_dict(fits, strict=False)  # heads for other kinds begin anew

    def groups(self, trains: dict, decay: float) -> list[dict]:
        groups = []
        for part, factor in trains.items():
            chosen = list(getattr(self.module, part).parameters())
            groups += [
                {"params": [p for p in chosen if p.dim() > 1], "weight_decay": decay, "factor": factor},
                {"params": [p for p in chosen if p.dim() <= 1], "weight_decay": 0.0, "factor": factor},
            ]
        return groups

    def freeze(self, trains: dict, statistics: bool) -> None:
        self.module.train()

    def weight(self, batch: dict) -> float:
        return len(batch["pixels"])

    def collate(self, samples: list[dict]) -> dict:
        pixels = torch.stack([torch.from_numpy(s["pixels"].copy()) for s in samples])
        pixels = self.sides(pixels, samples[0])
        return {"pixels": pixels} | targets([s["scene"] for s in samples])

    @torch.no_grad()
    def watch(self, module: Seeing, number: int = 400) -> dict[str, float]:
        """Shares of right answers on scenes whose words and numbers training never draws."""
        if self.watched is None:
            return {}
        module.eval()
        device = next(module.parameters()).device
        hits: dict[str, list[bool]] = {}
        number = min(number, len(self.watched))
        for start in range(0, number, 50):
            chosen = range(start, min(start + 50, number))
            samples = [self.watched.sample(i) | {"index": 0, "epoch": 0} for i in chosen]
            batch = self.collate(samples)
            out = {k: v.cpu() for k, v in module({k: v.to(device) for k, v in batch.items()}).items()}
            name, sign, color, order, _ = split_cell(out["cell"])
            t = batch["things"].shape[1]
            for key, logits, aims in (
                ("name", name[:, :t], batch["things"]),
                ("sign", sign[:, t:], batch["signs"]),
                ("order", order[:, t:], batch["order"]),
                ("color", color[:, :t], batch["colors"]),
                ("spot_sign", out["spot"][..., NAMES : NAMES + SIGNS][:, t:], batch["signs"]),
            ):
                hits.setdefault(key, []).extend((logits.argmax(-1) == aims)[aims >= 0].tolist())
            there = batch["word"][:, 0] >= 0
            right = out["read"].argmax(-1) == batch["word"]
            hits.setdefault("word", []).extend(right[there].all(1).tolist())
            hits.setdefault("letter", []).extend(right[there].flatten().tolist())
            counted = batch["count"] > 0
            hits.setdefault("count", []).extend((out["density"].sum((1, 2)).round() == batch["count"])[counted].tolist())
        module.train()
        return {k: round(sum(v) / len(v), 4) for k, v in hits.items() if v}
