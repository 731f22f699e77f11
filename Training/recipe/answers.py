"""Objective "answers": the language model's loss on the answers. Stages 1, 1.5, 2 and 3 of the paper."""

import pathlib
import random

import torch
import torch.nn.functional as F
from synth.pointing import PLACES, blurred, pointed
from tokenizers import Tokenizer
from torch import nn

from recipe import sources
from recipe.guide import Guide, pointing_steps
from recipe.model import VisionLanguage, initial
from recipe.naming import Naming
from recipe.shards import Sides, scaled
from recipe.start import fitted
from recipe.text import Packer


class Learner(nn.Module):
    """batch -> losses: of the answers, and of the naming; of the naming alone where nothing is asked."""

    def __init__(self, model: VisionLanguage, naming: Naming | None, weight: float, guide: float = 0.0):
        super().__init__()
        self.model, self.naming, self.weight = model, naming, weight
        self.guide, self.guide_weight = Guide(model.decoder) if guide else None, guide

    def forward(self, batch: dict) -> dict:
        table = self.model.decoder.get_input_embeddings().weight
        if "ids" not in batch:
            found = self.naming(self.model.images(batch), table, batch)
            return {"loss": sum(found.values()), **found}
        hidden, images = self.model.hidden(batch)
        logits = self.model.logits(hidden[batch["learn"]]).float()
        answer = F.cross_entropy(logits, batch["aims"][batch["learn"]])
        right = (logits.argmax(-1) == batch["aims"][batch["learn"]]).float().mean()
        found = {"loss": answer, "answer": answer, "token": right.detach()}
        if self.naming is not None:
            found["naming"] = sum(self.naming(images, table, batch).values())
            found["loss"] = answer + self.weight * found["naming"]
        if self.guide is not None:
            found["guide"] = self.guide(batch, self.model.image_token)
            found["loss"] = found["loss"] + self.guide_weight * found["guide"]
        return found


class Answers:
    """The objective that recipe.engine runs."""

    def __init__(self, config: dict):
        self.config = config
        model, data = config["model"], dict(config["data"])
        self.tokenizer = Tokenizer.from_file(model["tokenizer"])
        if missing := [t for t in sources.SPECIAL if self.tokenizer.token_to_id(t) is None]:
            raise ValueError(f"{model['tokenizer']} has no token {', '.join(missing)}: add_special_tokens")
        self.packer = Packer(self.tokenizer, data.pop("longest", 2048))
        self.points = self.tokenizer.token_to_id(PLACES[0]) is not None
        watched, self.sides = data.pop("watch", None), Sides(data.pop("sides", None), config["seed"])
        self.source = sources.make(data)
        kinds = {part.get("kind") for part in watched.get("mixture", [watched])} if watched else set()
        if kinds - {"painted", "synthetic"}:
            raise ValueError("data.watch asks about drawn scenes: kind = \"painted\" or \"synthetic\"")
        self.watched = sources.make(watched) if watched else None
        stored = getattr(self.source, "features", {})
        if stored and (missing := {int(side) for side in self.sides.settings} - stored.keys()):
            raise ValueError(f"data.sides has {sorted(missing)}, but data.features has files of {sorted(stored)} only")
        network = VisionLanguage(model, self.tokenizer)
        if self.packer.image >= (rows := len(network.decoder.get_input_embeddings().weight)):
            raise ValueError(f"<image> is token {self.packer.image}, but the decoder's embedding has {rows} rows only")
        weight = config.get("naming", 0.0)
        if data.get("questions") == 0 and not weight:
            raise ValueError("nothing to learn: data.questions is 0 and `naming` has no weight")
        guide = config.get("guide", 0.0)
        if guide and not self.points:
            raise ValueError(f"`guide` needs a tokenizer with places, {PLACES[0]} and so on, to point with")
        naming = Naming(self.tokenizer, network.decoder.config.hidden_size) if weight else None
        self.module = Learner(network, naming, weight, guide)
        start = config["start"].get("checkpoint")
        if start and not (pathlib.Path(config["out"]) / "checkpoint" / "complete").exists():
            self.begin(network, start, self.module)
        if model.get("lora"):
            from recipe.lora import adapt

            network.decoder = adapt(network.decoder, model["lora"])
        if config["train"]["fast_cpu"]:
            from recipe.fast_ops import accelerate

            network.encoder = accelerate(network.encoder)
        if config["train"].get("recompute"):
            network.decoder.activation_checkpointing_enable()

    @staticmethod
    def begin(network: VisionLanguage, start: str, learner: Learner | None = None) -> None:
        """Weights of an earlier run (an encoder behind heads, or a whole model), or of an exported model."""
        folder = pathlib.Path(start)
        if (folder / "config.json").exists() and any(folder.glob("*.safetensors")):
            from recipe.export import read

            return read(network, folder)
        state = initial(folder)
        network.load_state_dict(fitted(state, network, folder), strict=False)
        if learner is not None:  # its throw-away heads have learnt something as well
            heads = {k: v for k, v in learner.state_dict().items() if k.startswith(("naming.", "guide."))}
            kept = {k: v for k, v in state.items() if k in heads and heads[k].shape == v.shape}
            learner.load_state_dict(kept, strict=False)

    def groups(self, trains: dict, decay: float) -> list[dict]:
        network, groups = self.module.model, []
        network.requires_grad_(False)
        for part, factor in trains.items():
            if part == "lora":
                chosen = [p for n, p in network.decoder.named_parameters() if "lora_" in n]
            elif part in dict(network.named_modules()):  # "encoder.stages.4" as well
                chosen = list(network.get_submodule(part).parameters())
            else:
                names = ", ".join(name for name, _ in network.named_children())
                raise ValueError(f'train.trains names "{part}", expected {names}, a part of these, or lora')
            if part == "projector" and self.module.naming is not None:
                chosen += self.module.naming.parameters()
            if part == "decoder" and self.module.guide is not None:
                chosen += self.module.guide.parameters()
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

    def check(self, sample: dict) -> str | None:
        """Raises what cannot be learnt from, before it is part of a batch; tells of what is cut."""
        if "turns" not in sample:
            return None
        tokens = (len(sample["pixels"]) // 64) ** 2 if sample.get("pixels") is not None else 0
        tokens = max([tokens, *map(len, sample.get("features", {}).values())])
        *_, learn = self.packer.whole(self.said(sample), tokens, sample["linked"])
        if not any(learn[: self.packer.longest]):
            raise ValueError(f"no answer within data.longest, {self.packer.longest} of {len(learn)} tokens")
        return f"cut from {len(learn)} tokens to {self.packer.longest}" if len(learn) > self.packer.longest else None

    def weight(self, batch: dict) -> float:
        return float(batch["learn"].sum()) if "learn" in batch else float(len(batch["pixels"]))

    def collate(self, samples: list[dict], side: int | None = None) -> dict:
        """`side`: the resolution, unless the batch draws its own."""
        out: dict = {}
        side = side or self.sides.draw(samples[0])
        pictures = [s for s in samples if s.get("pixels") is not None]
        if "features" in samples[0]:
            stored = [s["features"][side] if side else next(iter(s["features"].values())) for s in samples]
            out["features"] = torch.stack([torch.from_numpy(f.astype("float32")) for f in stored])
            tokens = [out["features"].shape[1]] * len(samples)
        else:
            native = pictures[0]["pixels"].shape[0] if pictures else 64
            out["pixels"] = torch.zeros(0, native, native, 3, dtype=torch.uint8)
            if pictures:
                stacked = torch.stack([torch.from_numpy(s["pixels"]) for s in pictures])
                out["pixels"] = scaled(stacked, side or native)
            shown = (out["pixels"].shape[1] // 64) ** 2
            tokens = [shown if s.get("pixels") is not None else 0 for s in samples]
        if self.module.naming is not None:
            out |= self.module.naming.targets([s["scene"] for s in samples])
        if "turns" not in samples[0]:
            return out
        if self.points and self.module.training:
            samples = [self.glimpsed(s) for s in samples]
        turns = [self.said(s) for s in samples]
        rows = [self.packer.row(said, n, s["linked"]) for said, n, s in zip(turns, tokens, samples)]
        looks = []
        for i, (sample, row) in enumerate(zip(samples, rows)):
            points = self.points and "scene" in sample
            for place, *at, right in pointing_steps(sample["scene"], sample["turns"], row[3]) if points else ():
                if right:
                    looks.append((i, place, *at))
                elif place + 1 < len(row[3]):
                    row[3][place + 1] = False  # a slip is to be got over, not to be learnt
        if self.module.guide is not None:
            out["pointing"] = torch.tensor(looks, dtype=torch.float32).view(-1, 4)
        return out | self.packer.pack(rows)

    @staticmethod
    def glimpsed(sample: dict) -> dict:
        """The sample with its things where an eye may think that they are; other ones every epoch."""
        if not sample.get("scene", {}).get("things"):
            return sample
        rng = random.Random(f"glimpse {sample.get('epoch', 0)} {sample.get('index', 0)}")
        return sample | {"scene": blurred(sample["scene"], rng)}

    def said(self, sample: dict) -> list[tuple[str, str]]:
        """The turns as they are to be learnt."""
        return pointed(sample["scene"], sample["turns"]) if self.points and "scene" in sample else sample["turns"]

    def watch(self, learner: Learner, number: int = 200) -> dict[str, float]:
        """Shares of answers that greedy decoding gives exactly, per task, on scenes with held-out words."""
        if self.watched is None:
            return {}
        learner.eval()
        if len(self.sides.settings) < 2:
            return self.score(learner, number, None)
        found = {int(side): self.score(learner, number, int(side)) for side in self.sides.settings}
        return {f"{task} at {side}": share for side, shares in found.items() for task, share in shares.items()}

    def score(self, learner: Learner, number: int, side: int | None) -> dict[str, float]:
        hits: dict[str, list[bool]] = {}
        number = min(number, len(self.watched))
        for start in range(0, number, 25):
            samples, tasks = [], []
            for i in range(start, min(start + 25, number)):
                sample = self.watched.sample(i)
                found = watched_questions(sample["scene"], random.Random(i))
                tasks += found
                samples.append(sample | {"turns": list(found.values()), "linked": False})
            wanted = [answer for sample in samples for _, answer in sample["turns"]]
            for task, answer, right in zip(tasks, self.answers(learner.model, samples, side), wanted, strict=True):
                hits.setdefault(task, []).append(answer == right)
        return {k: round(sum(v) / len(v), 3) for k, v in sorted(hits.items())}

    @torch.no_grad()
    def answers(self, network: VisionLanguage, samples: list[dict], side: int | None = None) -> list[str]:
        """Greedy answers to every question of every sample, each asked alone."""
        device = next(network.parameters()).device
        batch = self.collate(samples, side)
        images = network.images({k: v.to(device) for k, v in batch.items() if k in ("pixels", "features")})
        owner = torch.tensor([i for i, sample in enumerate(samples) for _ in sample["turns"]], device=device)
        asked = [self.packer.row([(q, "")], images.shape[1], False)[0][:-1] for s in samples for q, _ in s["turns"]]
        longest = max(map(len, asked))
        ids = torch.tensor([self.packer.end * (longest - len(row)) + row for row in asked], device=device)
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in asked], device=device)
        embedded = network.decoder.get_input_embeddings()(ids)
        seen = images[owner].to(embedded.dtype)
        embedded = embedded.masked_scatter((ids == network.image_token)[..., None], seen)
        most = max(len(self.packer.ids(answer)) for sample in samples for _, answer in self.said(sample)) + 2
        told = network.decoder.generate(
            inputs_embeds=embedded, attention_mask=mask, do_sample=False, max_new_tokens=most,
            eos_token_id=self.packer.end[0], pad_token_id=self.packer.end[0],
        )  # fmt: skip
        return [self.tokenizer.decode(row.tolist()) for row in told]


def watched_questions(scene: dict, rng: random.Random) -> dict[str, tuple[str, str]]:
    """A question of every task that makes sense for the scene, by the task's name."""
    from synth import documents, questions

    if "facts" in scene:
        return {scene["family"]: documents.ask(scene, rng)}
    facts = questions.Facts(scene)
    found = {task: questions.ask(facts, task, rng) for task in facts.possible() if task != "text"}
    return {f"count {scene['family']}" if task == "count" else task: pair for task, pair in found.items()}
