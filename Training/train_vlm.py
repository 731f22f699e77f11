"""Projector and decoder on cached features; with --joint the encoder too, on the images themselves."""

import argparse
import random
import time

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import nn

import questions
import vlm
import workers
from cache_features import features, load_folded, open_features
from data import Scenes
from fast_ops import accelerate


def freeze_statistics(encoder: nn.Module) -> None:
    """The convolutional FFNs keep their batch norms; their statistics stay what stage 0 found."""
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


class Source:
    """Features of training and held-out images, from the cache or through the encoder."""

    def __init__(self, args):
        self.held, self.encoder = Scenes("held"), None
        if args.joint:
            self.encoder = accelerate(load_folded(workers.RUNS / f"{args.encoder}.pt"))
            self.trained = Scenes("train")
        else:
            self.cache = {split: open_features(split, args.cache) for split in ("train", "held")}
            self.trained = Scenes("train", len(self.cache["train"]))

    def of(self, split: str, chosen) -> torch.Tensor:
        if self.encoder is None:
            return torch.from_numpy(self.cache[split][list(chosen)]).float()
        scenes = self.trained if split == "train" else self.held
        return features(self.encoder, scenes.batch(chosen))


@torch.no_grad()
def measure(language, prompts, source: Source, number: int) -> dict[str, float]:
    scenes = source.held.described[:number]
    hits = vlm.by_task(language, prompts, lambda chosen: source.of("held", chosen), scenes, held=False)
    return {k: round(sum(v) / len(v), 3) for k, v in hits.items() if v}


def work(rank: int, processes: int, args) -> None:
    tokenizer = Tokenizer.from_file(str(workers.RUNS / "tokenizer.json"))
    prompts, source = vlm.Prompts(tokenizer), Source(args)
    language = vlm.Language(tokenizer)
    groups = [{"params": list(language.parameters()), "peak": args.rate}]
    if args.joint:
        groups.append({"params": list(source.encoder.parameters()), "peak": args.encoder_rate})
    parameters = [p for g in groups for p in g["params"]]
    optimiser = torch.optim.AdamW(groups, lr=args.rate, betas=(0.9, 0.98), weight_decay=0.02)
    path, record = workers.RUNS / f"{args.name}.pt", workers.RUNS / f"{args.name}.jsonl"
    clock, step, seen = workers.Clock(args.minutes * 60), 0, 0
    if path.exists():
        state = torch.load(path)
        language.load_state_dict(state["language"])
        optimiser.load_state_dict(state["optimiser"])
        if args.joint:
            source.encoder.load_state_dict(state["encoder"])
        clock, step, seen = workers.Clock(args.minutes * 60, state["used"]), state["step"], state["seen"]
    elif args.start:
        language.load_state_dict(torch.load(workers.RUNS / f"{args.start}.pt")["language"])
    if args.joint:
        source.encoder.train()
        freeze_statistics(source.encoder)
    rng = random.Random(7 + rank + 1000 * step)
    order: list[int] = []
    share, mark, marked, total, right, tokens = 0.0, time.monotonic(), seen, 0.0, 0, 0
    while share < 1:
        if len(order) < args.batch:
            order = list(range(len(source.trained)))
            rng.shuffle(order)
        chosen, order = order[: args.batch], order[args.batch :]
        asked = [questions.several(source.trained.described[i], args.questions, rng) for i in chosen]
        logits, want = language(source.of("train", chosen), prompts.pack(asked))
        loss = F.cross_entropy(logits, want)
        optimiser.zero_grad()
        loss.backward()
        norm = workers.share_gradients(parameters)
        share = clock.tick()
        for group in optimiser.param_groups:
            group["lr"] = clock.rate(share, group["peak"])
        optimiser.step()
        step, seen = step + 1, seen + args.batch * processes
        total, right, tokens = total + loss.item(), right + (logits.argmax(-1) == want).sum().item(), tokens + len(want)
        if step % 50 == 0:
            if rank == 0:
                now = time.monotonic()
                workers.log(record, step=step, seen=seen, share=share, speed=(seen - marked) / (now - mark), norm=norm,
                            loss=total / 50, token=right / tokens)
                mark, marked = now, seen
            total, right, tokens = 0.0, 0, 0
        if (step % args.every == 0 or share >= 1) and rank == 0:
            if args.joint:
                source.encoder.eval()
            workers.log(record, step=step, seen=seen, held=measure(language, prompts, source, 256 if share < 1 else 1024))
            if args.joint:
                source.encoder.train()
                freeze_statistics(source.encoder)
            extra = {"encoder": source.encoder.state_dict()} if args.joint else {}
            workers.save(path, language=language.state_dict(), optimiser=optimiser.state_dict(), used=clock.used,
                         step=step, seen=seen, **extra)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="decoder")
    parser.add_argument("--encoder", default="stage0", help="stage 0 checkpoint whose encoder to use")
    parser.add_argument("--start", help="checkpoint whose projector and decoder to start from")
    parser.add_argument("--cache", default="features")
    parser.add_argument("--joint", action="store_true")
    parser.add_argument("--minutes", type=float, default=18)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--encoder-rate", type=float, default=2e-4)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--questions", type=int, default=5)
    parser.add_argument("--every", type=int, default=400)
    parser.add_argument("--port", type=int, default=29531)
    workers.launch(work, parser.parse_args())


if __name__ == "__main__":
    main()
