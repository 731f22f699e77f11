"""Objective "answers": the language model's loss on the answers. Stages 1, 1.5, 2 and 3 of the paper."""

import pathlib
import random

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import nn

from recipe import sources
from recipe.model import VisionLanguage, initial
from recipe.shards import Sides
from recipe.text import Packer


class Naming(nn.Module):
    """For synthetic scenes, a second, direct way for the projector to learn: a projected visual token should
    look like the decoder's own word for what lies there. Without it the decoder must discover by chance that
    looking at the image pays, which takes far longer.
    """

    def __init__(self, tokenizer: Tokenizer):
        super().__init__()
        from synth import questions, world

        from recipe.labels import targets

        def rows(texts):
            return torch.tensor([tokenizer.encode(t, add_special_tokens=False).ids[0] for t in texts])

        self.targets = targets
        self.tables = {
            "things": rows(" " + questions.noun(i) for i in range(len(world.NAMES))),
            "signs": rows(world.SIGNS),
            "colors": rows(" " + c for c in world.COLOUR_NAMES),
            "ground": rows(c.capitalize() for c in world.COLOUR_NAMES),
        }

    def forward(self, spoken, table, want):
        """spoken: [N, T, D] projected tokens of square maps; table: the decoder's embeddings."""
        n, t, width = spoken.shape
        spoken = F.rms_norm(spoken, (width,))
        side = round(t**0.5)
        total = spoken.sum() * 0
        for name, at in (("things", "things_at"), ("signs", "signs_at"), ("colors", "things_at")):
            image, slot = (want[name] >= 0).nonzero(as_tuple=True)
            if len(image):
                cell = (want[at][image, slot] * side).long().clamp(0, side - 1)
                scores = spoken[image, cell[:, 1] * side + cell[:, 0]] @ table[self.tables[name]].t()
                total = total + F.cross_entropy(scores, want[name][image, slot])
        if (want["ground"] >= 0).any():
            scores = spoken.mean(1) @ table[self.tables["ground"]].t()
            total = total + 0.3 * F.cross_entropy(scores, want["ground"], ignore_index=-1)
        return total


class Learner(nn.Module):
    def __init__(self, model: VisionLanguage, naming: Naming | None, weight: float):
        super().__init__()
        self.model, self.naming, self.weight = model, naming, weight

    def forward(self, batch: dict) -> dict:
        hidden, images = self.model.hidden(batch)
        logits = self.model.logits(hidden[batch["learn"]]).float()
        answer = F.cross_entropy(logits, batch["aims"][batch["learn"]])
        right = (logits.argmax(-1) == batch["aims"][batch["learn"]]).float().mean()
        found = {"loss": answer, "answer": answer, "token": right.detach()}
        if self.naming is not None:
            found["naming"] = self.naming(images, self.model.decoder.get_input_embeddings().weight, batch)
            found["loss"] = answer + self.weight * found["naming"]
        return found


class Answers:
    """The objective that recipe.engine runs."""

    def __init__(self, config: dict):
        self.config = config
        model, data = config["model"], dict(config["data"])
        self.tokenizer = Tokenizer.from_file(model["tokenizer"])
        self.packer = Packer(self.tokenizer, data.pop("longest", 2048))
        watched, self.sides = data.pop("watch", None), Sides(data.pop("sides", None), config["seed"])
        self.source = sources.make(data)
        self.watched = sources.make(watched) if watched else None
        network = VisionLanguage(model, self.tokenizer)
        weight = config.get("naming", 0.0)
        start = config["start"].get("checkpoint")
        if start and not (pathlib.Path(config["out"]) / "checkpoint" / "complete").exists():
            self.begin(network, start)
        if model.get("lora"):
            from recipe.lora import adapt

            network.decoder = adapt(network.decoder, model["lora"])
        if config["train"]["fast_cpu"]:
            from recipe.fast_ops import accelerate

            network.encoder = accelerate(network.encoder)
        if config["train"].get("recompute"):
            network.decoder.gradient_checkpointing_enable()
        self.module = Learner(network, Naming(self.tokenizer) if weight else None, weight)

    @staticmethod
    def begin(network: VisionLanguage, start: str) -> None:
        """Weights of an earlier run (an encoder behind heads, or a whole model), or of an exported model."""
        if (pathlib.Path(start) / "config.json").exists() and (
            pathlib.Path(start) / "model.safetensors"
        ).exists():
            from recipe.export import read

            return read(network, pathlib.Path(start))
        state = {k.removeprefix("model."): v for k, v in initial(start).items()}
        own = network.state_dict()
        unfit = [k for k, v in state.items() if k in own and own[k].shape != v.shape]
        if unfit:
            raise ValueError(f"{start}: tensors of another shape than configured, first {unfit[0]}")
        fits = {k: v for k, v in state.items() if k in own}
        if not fits:
            raise ValueError(f"{start}: no tensor of the checkpoint belongs to this model")
        network.load_state_dict(fits, strict=False)

    def groups(self, trains: dict, decay: float) -> list[dict]:
        network, groups = self.module.model, []
        network.requires_grad_(False)
        for part, factor in trains.items():
            if part == "lora":
                chosen = [p for n, p in network.decoder.named_parameters() if "lora_" in n]
            else:
                chosen = list(getattr(network, part).parameters())
            for p in chosen:
                p.requires_grad_(True)
            for matrix in (True, False):
                picked = [p for p in chosen if (p.dim() > 1) == matrix]
                if picked:
                    groups.append(
                        {"params": picked, "weight_decay": decay if matrix else 0.0, "factor": factor}
                    )
        return groups

    def freeze(self, trains: dict, statistics: bool) -> None:
        """Frozen parts, and batch norms unless they are to go on measuring, are in evaluation mode."""
        self.module.train()
        if "encoder" not in trains:
            self.module.model.encoder.eval()
        elif not statistics:
            for module in self.module.model.encoder.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()

    def weight(self, batch: dict) -> float:
        return float(batch["learn"].sum())

    def collate(self, samples: list[dict]) -> dict:
        out: dict = {}
        pictures = [s for s in samples if s.get("pixels") is not None]
        if "features" in samples[0]:
            out["features"] = torch.stack([torch.from_numpy(s["features"]) for s in samples])
            tokens = [out["features"].shape[1]] * len(samples)
        else:
            side = pictures[0]["pixels"].shape[0] if pictures else 64
            blank = torch.zeros(0, side, side, 3, dtype=torch.uint8)
            stacked = [torch.from_numpy(s["pixels"]) for s in pictures]
            out["pixels"] = blank
            if stacked:
                out["pixels"] = self.sides(
                    torch.stack(stacked), samples[0].get("index", 0), samples[0].get("epoch", 0)
                )
                side = out["pixels"].shape[1]
            tokens = [(side // 64) ** 2 if s.get("pixels") is not None else 0 for s in samples]
        rows = [self.packer.row(s["turns"], n, s["linked"]) for s, n in zip(samples, tokens)]
        out |= self.packer.pack(rows)
        if self.module.naming is not None:
            out |= self.module.naming.targets([s["scene"] for s in samples])
        return out

    @torch.no_grad()
    def watch(self, learner: Learner, number: int = 200) -> dict[str, float]:
        """Shares of answers that greedy decoding gives exactly, per task, on scenes with held-out words."""
        if self.watched is None:
            return {}
        learner.eval()
        from synth import questions

        hits: dict[str, list[bool]] = {}
        for start in range(0, number, 25):
            samples, tasks = [], []
            for i in range(start, start + 25):
                sample = self.watched.sample(i)
                facts, rng = questions.Facts(sample["scene"]), random.Random(i)
                chosen = [t for t in facts.possible() if t not in ("text",)]
                sample["turns"], sample["linked"] = [questions.ask(facts, t, rng) for t in chosen], False
                samples.append(sample)
                tasks.append([f"count {facts.scene['family']}" if t == "count" else t for t in chosen])
            device = next(learner.parameters()).device
            batch = {k: v.to(device) for k, v in self.collate(samples).items()}
            hidden, _ = learner.model.hidden(batch)
            right = learner.model.logits(hidden[batch["learn"]]).argmax(-1) == batch["aims"][batch["learn"]]
            row, column = batch["learn"].nonzero(as_tuple=True)
            part = batch["segment"][row, column]
            for i, names in enumerate(tasks):
                for j, name in enumerate(names, 1):
                    hits.setdefault(name, []).append(bool(right[(row == i) & (part == j)].all()))
        return {k: round(sum(v) / len(v), 3) for k, v in sorted(hits.items())}
