"""Stage 0: the encoder learns to see, through throw-away heads, what the generator knows for free.

Kinds present, counts per kind, left and right, the background's colour, the letters of a word by position.
A language model's loss on its own does not get an untrained encoder started.
"""

import argparse
import time

import torch
import torch.nn.functional as F
from torch import nn

import vocabulary
import workers
from data import Scenes
from fast_ops import accelerate
from model import ENCODER, FEATURES, SIDE, make_encoder

KINDS, COLOURS = len(vocabulary.KINDS), list(vocabulary.COLOURS)
# How much the heads that read weigh.
WEIGHTS = {"word": 1.5, "early": 0.75, "spot": 0.7, "order": 0.5, "cell": 1.0, "cell_order": 0.5}
END = len(vocabulary.LETTERS)  # the class of a slot behind the word's end


class Reader(nn.Module):
    """One learned query per letter slot looks at a map of features: [N, C, H, W] -> [N, slots, 27]."""

    def __init__(self, channels: int, cells: int, width: int = 160):
        super().__init__()
        self.enter = nn.Linear(channels, width)
        self.places = nn.Parameter(torch.randn(cells, width) * 0.3)
        self.slots = nn.Parameter(torch.randn(vocabulary.LONGEST, width) * 0.3)
        layer = nn.TransformerDecoderLayer(width, 4, 2 * width, dropout=0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerDecoder(layer, 2, nn.LayerNorm(width))
        self.leave = nn.Linear(width, END + 1)

    def forward(self, x):
        memory = self.enter(x.flatten(2).transpose(1, 2)) + self.places
        return self.leave(self.layers(self.slots.expand(len(x), -1, -1), memory))


class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(FEATURES)
        self.kind = nn.Linear(FEATURES, KINDS)
        self.density = nn.Linear(FEATURES, KINDS)
        self.color = nn.Linear(FEATURES, len(COLOURS))
        self.read = Reader(FEATURES, 16)
        self.read_early = Reader(ENCODER["embed_dims"][3], 64)
        # At the known place of a letter: which one it is, and which of the word's letters.
        self.spot = nn.Linear(ENCODER["embed_dims"][3], END + vocabulary.LONGEST)
        self.cell = nn.Sequential(
            nn.Linear(FEATURES + 4, 256), nn.GELU(), nn.Linear(256, END + vocabulary.LONGEST)
        )
        nn.init.constant_(self.density.bias, -5.0)

    def forward(self, x, early, spots):
        """`spots`: [N, slots, 2] places of letters in -1...1, on which the early map is read off."""
        cells = self.norm(x.permute(0, 2, 3, 1))  # [N, 4, 4, C]
        spot = self.spot(F.grid_sample(early, spots[:, None], align_corners=False)[:, :, 0].transpose(1, 2))
        around = F.grid_sample(x, spots[:, None], mode="nearest", align_corners=False)[:, :, 0].transpose(
            1, 2
        )
        within = (spots + 1) * 2 % 1 - 0.5  # where in its cell of the 4 x 4 map
        cell = self.cell(torch.cat([around, spots, within], 2))
        density = F.softplus(self.density(cells)).sum((1, 2))
        return {
            "kind": self.kind(cells.amax((1, 2))),
            "left": self.kind(cells[:, :, :2].amax((1, 2))),
            "right": self.kind(cells[:, :, 2:].amax((1, 2))),
            "count": density,
            "color": self.color(cells.mean((1, 2))),
            "word": self.read(x),
            "early": self.read_early(early),
            "spot": spot[..., :END],
            "order": spot[..., END:],
            "cell": cell[..., :END],
            "cell_order": cell[..., END:],
        }


class Seeing(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = accelerate(make_encoder())
        self.heads = Heads()
        self.frozen: list[nn.Module] = []

    def freeze(self, stages: int) -> None:
        """Leaves the stem and the first stages as they are: they cost most and change least."""
        self.frozen = [self.encoder.stem, *self.encoder.stages[:stages]] if stages else []
        for module in self.frozen:
            module.requires_grad_(False).eval()

    def train(self, mode: bool = True):
        super().train(mode)
        for module in self.frozen:
            module.eval()
        return self

    def forward(self, images, spots, with_features: bool = False):
        net = self.encoder
        x = net.stem(images)
        for i, stage in enumerate(net.stages):
            x = stage(x)
            if i == 3:
                early = x
        x = net.final_conv(x)
        out = self.heads(x, early, spots)
        return (out, x.flatten(2).transpose(1, 2)) if with_features else out


def targets(scenes: list[dict]) -> dict[str, torch.Tensor]:
    n = len(scenes)
    out = {
        "count": torch.zeros(n, KINDS),
        "left": torch.full((n,), -1),
        "right": torch.full((n,), -1),
        "color": torch.full((n,), -1),
        "word": torch.full((n, vocabulary.LONGEST), -1),
        "spot": torch.full((n, vocabulary.LONGEST), -1),
        "places": torch.zeros(n, vocabulary.LONGEST, 2),
    }
    for i, scene in enumerate(scenes):
        for kind, count in scene.get("things", []):
            out["count"][i, kind] = count
        for side in ("left", "right"):
            out[side][i] = scene.get(side, -1)
        if scene["color"]:
            out["color"][i] = COLOURS.index(scene["color"])
        if "word" in scene:
            letters = [vocabulary.LETTERS.index(c) for c in scene["word"]]
            out["word"][i] = torch.tensor((letters + [END] * vocabulary.LONGEST)[: vocabulary.LONGEST])
        if scene.get("letters"):
            out["spot"][i, : len(letters)] = torch.tensor(letters)
            out["places"][i, : len(letters)] = torch.tensor(scene["letters"]) / (SIDE / 2) - 1
    return out


def losses(out: dict, want: dict) -> dict[str, torch.Tensor]:
    found = {}
    if (want["color"] >= 0).any():
        found["color"] = 0.3 * F.cross_entropy(out["color"], want["color"], ignore_index=-1)
    things = want["count"].sum(1) > 0
    if things.any():
        present = (want["count"] > 0).float()[things]
        found["kind"] = F.cross_entropy(out["kind"][things], present / present.sum(1, keepdim=True))
        found["count"] = 12 * F.poisson_nll_loss(
            out["count"][things], want["count"][things], log_input=False, full=False
        )
    for side in ("left", "right"):
        if (want[side] >= 0).any():
            found[side] = 0.15 * F.cross_entropy(out[side], want[side], ignore_index=-1)
    number = torch.arange(vocabulary.LONGEST).expand_as(want["spot"])
    want = want | {"order": torch.where(want["spot"] >= 0, number, -1), "early": want["word"]}
    want |= {"cell": want["spot"], "cell_order": want["order"]}
    for head, weight in WEIGHTS.items():
        aim = want[head].flatten()
        if (aim >= 0).any():
            found[head] = weight * F.cross_entropy(out[head].flatten(0, 1), aim, ignore_index=-1)
    return found


@torch.no_grad()
def measure(net: Seeing, held: Scenes, number: int) -> dict[str, float]:
    net.eval()
    hits: dict[str, list[bool]] = {}
    for start in range(0, number, 50):
        chosen = range(start, start + 50)
        want = targets([held.described[i] for i in chosen])
        out = net(held.batch(chosen), want["places"])
        for i, index in enumerate(chosen):
            scene = held.described[index]
            family = scene["family"]
            if family == "word":
                hit = out["word"][i].argmax(-1) == want["word"][i]
                early = out["early"][i].argmax(-1) == want["word"][i]
                hits.setdefault("word", []).append(bool(hit.all()))
                hits.setdefault("letter", []).extend(hit.tolist())
                hits.setdefault("early_letter", []).extend(early.tolist())
                there = want["spot"][i] >= 0
                hits.setdefault("spot", []).extend(
                    (out["spot"][i].argmax(-1) == want["spot"][i])[there].tolist()
                )
            else:
                main, number_of = scene["things"][0]
                hits.setdefault(f"kind_{family}", []).append(
                    int(out["kind"][i].argmax()) in [k for k, _ in scene["things"]]
                )
                if family == "count":
                    hits.setdefault("count", []).append(round(out["count"][i, main].item()) == number_of)
                if family == "pair":
                    hits.setdefault("left", []).append(int(out["left"][i].argmax()) == scene["left"])
    net.train()
    return {k: sum(v) / len(v) for k, v in sorted(hits.items())}


def work(rank: int, processes: int, args) -> None:
    net = Seeing()
    path, record = workers.RUNS / f"{args.name}.pt", workers.RUNS / f"{args.name}.jsonl"
    decay = [p for p in net.parameters() if p.dim() > 1]
    other = [p for p in net.parameters() if p.dim() <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.03}, {"params": other, "weight_decay": 0}],
        lr=args.rate,
        betas=(0.9, 0.98),
    )
    clock, step, seen = workers.Clock(args.minutes * 60), 0, 0
    if args.start and not path.exists():
        net.load_state_dict(torch.load(workers.RUNS / f"{args.start}.pt")["net"], strict=False)
    if path.exists():
        state = torch.load(path)
        net.load_state_dict(state["net"])
        optimiser.load_state_dict(state["optimiser"])
        clock, step, seen = workers.Clock(args.minutes * 60, state["used"]), state["step"], state["seen"]
    trained, held = Scenes("train"), Scenes("held")
    generator = torch.Generator().manual_seed(10_000 + 100 * step + rank)
    order: list[int] = []
    share, mark, marked = 0.0, time.monotonic(), seen
    sums: dict[str, float] = {}
    while share < 1:
        if len(order) < args.batch:
            order = torch.randperm(len(trained), generator=generator).tolist()
        chosen, order = order[: args.batch], order[args.batch :]
        want = targets([trained.described[i] for i in chosen])
        found = losses(net(trained.batch(chosen), want["places"]), want)
        loss = sum(found.values())
        optimiser.zero_grad()
        loss.backward()
        norm = workers.share_gradients(net.parameters())
        share = clock.tick()
        for group in optimiser.param_groups:
            group["lr"] = clock.rate(share, args.rate)
        optimiser.step()
        step, seen = step + 1, seen + args.batch * processes
        for k, v in found.items():
            sums[k] = sums.get(k, 0) + v.item()
        if step % 25 == 0 and rank == 0:
            now = time.monotonic()
            speed = (seen - marked) / (now - mark)
            mark, marked = now, seen
            workers.log(
                record,
                step=step,
                seen=seen,
                share=share,
                speed=speed,
                norm=norm,
                **{k: v / 25 for k, v in sums.items()},
            )
        if step % 25 == 0:
            sums = {}
        if step % 100 == 0:  # shards may have been added
            trained, order = Scenes("train"), []
        if (step % 150 == 0 or share >= 1) and rank == 0:
            workers.log(record, step=step, seen=seen, held=measure(net, held, 300 if share < 1 else 1500))
            workers.save(
                path,
                net=net.state_dict(),
                optimiser=optimiser.state_dict(),
                used=clock.used,
                step=step,
                seen=seen,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="stage0")
    parser.add_argument("--start", help="checkpoint of another run to start from")
    parser.add_argument(
        "--minutes", type=float, default=40, help="wall-clock budget; the schedule follows it"
    )
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--batch", type=int, default=32, help="images per process and step")
    parser.add_argument("--port", type=int, default=29511)
    workers.launch(work, parser.parse_args())


if __name__ == "__main__":
    main()
