"""Projector and decoder alone, on features that the encoder computes once: four times the speed."""

import argparse
import random
import time

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from tokenizers import Tokenizer

import pretrain_encoder as stage0
import questions
import vlm
import workers
from data import Scenes
from fast_ops import accelerate
from model import FEATURES, features, load_folded


@torch.no_grad()
def cache(rank: int, processes: int, name: str, encoder, scenes: Scenes) -> np.ndarray:
    """[N, 16, FEATURES] float16, computed by all processes together."""
    path, shape = workers.RUNS / f"features-{name}.bin", (len(scenes), vlm.TOKENS, FEATURES)
    if path.exists() and path.stat().st_size == 2 * int(np.prod(shape)):
        return np.memmap(path, np.float16, "r", shape=shape)
    part = path.with_suffix(".part")
    if rank == 0:
        np.memmap(part, np.float16, "w+", shape=shape)
    dist.barrier()
    out = np.memmap(part, np.float16, "r+", shape=shape)
    for start in range(rank * 16, len(scenes), 16 * processes):
        chosen = range(start, min(start + 16, len(scenes)))
        found = features(encoder, scenes.batch(chosen))
        if not torch.isfinite(found).all():
            raise FloatingPointError(f"features of images {chosen} are not finite")
        out[chosen.start : chosen.stop] = found.numpy()
    out.flush()
    dist.barrier()
    if rank == 0:
        part.rename(path)
    dist.barrier()
    return np.memmap(path, np.float16, "r", shape=shape)


def work(rank: int, processes: int, args) -> None:
    tokenizer = Tokenizer.from_file(str(workers.RUNS / "tokenizer.json"))
    prompts, words, language = vlm.Prompts(tokenizer), vlm.Words(tokenizer), vlm.Language(tokenizer)
    beginning = torch.load(workers.RUNS / f"{args.start}.pt")
    if "language" in beginning:
        language.load_state_dict(beginning["language"])
    encoder = accelerate(load_folded(workers.RUNS / f"{args.start}.pt")).eval()
    trained, held = Scenes("train", args.images), Scenes("held", 200)
    seen_held = torch.from_numpy(cache(rank, processes, f"{args.start}-held", encoder, held)[:]).float()
    known = cache(rank, processes, f"{args.start}-train", encoder, trained)
    optimiser = torch.optim.AdamW(language.parameters(), lr=args.rate, betas=(0.9, 0.98), weight_decay=0.02)
    path, record = workers.RUNS / f"{args.name}.pt", workers.RUNS / f"{args.name}.jsonl"
    clock, step, seen = workers.Clock(args.minutes * 60), 0, 0
    if path.exists():
        state = torch.load(path)
        language.load_state_dict(state["language"])
        optimiser.load_state_dict(state["optimiser"])
        clock, step, seen = workers.Clock(args.minutes * 60, state["used"]), state["step"], state["seen"]
    rng = random.Random(7 + rank + 1000 * step)
    order: list[int] = []
    share, mark, marked, right, tokens = 0.0, time.monotonic(), seen, 0, 0
    sums = [0.0, 0.0]
    while share < 1:
        if len(order) < args.batch:
            order = list(range(len(trained)))
            rng.shuffle(order)
        chosen, order = order[: args.batch], order[args.batch :]
        scenes = [trained.described[i] for i in chosen]
        images = torch.from_numpy(known[chosen]).float()
        packed = prompts.pack([questions.several(s, args.questions, rng) for s in scenes])
        logits, answers = language(images, packed)
        answer = F.cross_entropy(logits, answers)
        naming = words.loss(language, images, stage0.targets(scenes))
        optimiser.zero_grad()
        (answer + 0.3 * naming).backward()
        norm = workers.share_gradients(language.parameters())
        share = clock.tick()
        for group in optimiser.param_groups:
            group["lr"] = clock.rate(share, args.rate)
        optimiser.step()
        step, seen = step + 1, seen + args.batch * processes
        right, tokens = right + (logits.argmax(-1) == answers).sum().item(), tokens + len(answers)
        sums = [sums[0] + answer.item(), sums[1] + naming.item()]
        if step % 100 == 0:
            if rank == 0:
                now = time.monotonic()
                speed = (seen - marked) / (now - mark)
                workers.log(
                    record,
                    step=step,
                    seen=seen,
                    share=share,
                    speed=speed,
                    norm=norm,
                    token=right / tokens,
                    answer=sums[0] / 100,
                    naming=sums[1] / 100,
                )
                mark, marked = now, seen
            sums, right, tokens = [0.0, 0.0], 0, 0
        if (step % args.every == 0 or share >= 1) and rank == 0:
            workers.save(
                path,
                net=beginning["net"],
                language=language.state_dict(),
                optimiser=optimiser.state_dict(),
                used=clock.used,
                step=step,
                seen=seen,
            )
            hits = vlm.by_task(language, prompts, lambda at: seen_held[at], held.described, held=False)
            workers.log(record, step=step, held={k: round(sum(v) / len(v), 3) for k, v in hits.items() if v})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="decoder")
    parser.add_argument(
        "--start", default="joint", help="checkpoint with the encoder (and decoder) to start from"
    )
    parser.add_argument("--images", type=int, default=8000)
    parser.add_argument("--minutes", type=float, default=17)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--batch", type=int, default=8, help="images per process and step")
    parser.add_argument("--questions", type=int, default=5)
    parser.add_argument("--every", type=int, default=300)
    parser.add_argument("--port", type=int, default=29561)
    workers.launch(work, parser.parse_args())


if __name__ == "__main__":
    main()
