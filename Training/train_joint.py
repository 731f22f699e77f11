"""The whole model on the images: answers through the decoder, and stage 0's heads as a second loss.

Starts from a stage 0 checkpoint. The encoder goes on learning to see while the decoder learns to answer.
"""

import argparse
import random
import time

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

import pretrain_encoder as stage0
import questions
import vlm
import workers
from data import Scenes
from model import features


@torch.no_grad()
def measure(seeing, language, prompts, held: Scenes, number: int) -> dict[str, float]:
    seeing.eval()
    hits = vlm.by_task(
        language,
        prompts,
        lambda chosen: features(seeing.encoder, held.batch(chosen)),
        held.described[:number],
        held=False,
    )
    seeing.train()
    return {k: round(sum(v) / len(v), 3) for k, v in hits.items() if v}


def mixture(described: list[dict], words: float, rng: random.Random) -> list[int]:
    """A shuffled pass over the scenes without words, with as many words as make up their share."""
    written = [i for i, scene in enumerate(described) if "word" in scene]
    others = [i for i, scene in enumerate(described) if "word" not in scene]
    order = others + rng.choices(written, k=round(len(others) * words / (1 - words)))
    rng.shuffle(order)
    return order


def fitting(state: dict, net: torch.nn.Module) -> dict:
    """What of a checkpoint still fits: heads are thrown away in the end and may have changed since."""
    own = net.state_dict()
    return {k: v for k, v in state.items() if k in own and own[k].shape == v.shape}


def work(rank: int, processes: int, args) -> None:
    tokenizer = Tokenizer.from_file(str(workers.RUNS / "tokenizer.json"))
    prompts, words = vlm.Prompts(tokenizer), vlm.Words(tokenizer)
    seeing, language = stage0.Seeing(), vlm.Language(tokenizer)
    groups = [
        {"params": list(seeing.parameters()), "peak": args.encoder_rate},
        {"params": list(language.parameters()), "peak": args.rate},
    ]
    optimiser = torch.optim.AdamW(groups, lr=args.rate, betas=(0.9, 0.98), weight_decay=0.02)
    path, record = workers.RUNS / f"{args.name}.pt", workers.RUNS / f"{args.name}.jsonl"
    clock, step, seen = workers.Clock(args.minutes * 60), 0, 0
    if path.exists():
        state = torch.load(path)
        seeing.load_state_dict(state["net"])
        language.load_state_dict(state["language"])
        optimiser.load_state_dict(state["optimiser"])
        for group, peak in zip(optimiser.param_groups, (args.encoder_rate, args.rate)):
            group["peak"] = peak
        clock, step, seen = workers.Clock(args.minutes * 60, state["used"]), state["step"], state["seen"]
    else:
        state = torch.load(workers.RUNS / f"{args.start}.pt")
        seeing.load_state_dict(fitting(state["net"], seeing), strict=False)
        if "language" in state:
            language.load_state_dict(state["language"])
    seeing.freeze(args.freeze)
    trained, held = Scenes("train"), Scenes("held")
    rng = random.Random(7 + rank + 1000 * step)
    order: list[int] = []
    share, mark, marked, right, tokens = 0.0, time.monotonic(), seen, 0, 0
    sums: dict[str, float] = {}
    while share < 1:
        if len(order) < args.batch:
            order = mixture(trained.described, args.words, rng)
        chosen, order = order[: args.batch], order[args.batch :]
        scenes = [trained.described[i] for i in chosen]
        wanted = stage0.targets(scenes)
        out, seen_features = seeing(trained.batch(chosen), wanted["places"], with_features=True)
        found = stage0.losses(out, wanted)
        packed = prompts.pack([questions.several(s, args.questions, rng) for s in scenes])
        logits, answers = language(seen_features, packed)
        found["answer"] = F.cross_entropy(logits, answers)
        found["naming"] = words.loss(language, seen_features, wanted)
        optimiser.zero_grad()
        (found["answer"] * args.weight + sum(v for k, v in found.items() if k != "answer")).backward()
        norms = [workers.share_gradients(group["params"]) for group in groups]
        share = clock.tick()
        for group in optimiser.param_groups:
            group["lr"] = clock.rate(share, group["peak"])
        optimiser.step()
        step, seen = step + 1, seen + args.batch * processes
        right, tokens = right + (logits.argmax(-1) == answers).sum().item(), tokens + len(answers)
        for k, v in found.items():
            sums[k] = sums.get(k, 0) + v.item()
        if step % 50 == 0:
            if rank == 0:
                now = time.monotonic()
                workers.log(
                    record,
                    step=step,
                    seen=seen,
                    share=share,
                    speed=(seen - marked) / (now - mark),
                    norms=[round(n, 2) for n in norms],
                    token=right / tokens,
                    **{k: v / 50 for k, v in sums.items()},
                )
                mark, marked = now, seen
            sums, right, tokens = {}, 0, 0
        if (step % args.every == 0 or share >= 1) and rank == 0:
            number = 100
            workers.log(
                record,
                step=step,
                held=measure(seeing, language, prompts, held, number),
                heads=stage0.measure(seeing, held, 100),
            )
            workers.save(
                path,
                net=seeing.state_dict(),
                language=language.state_dict(),
                optimiser=optimiser.state_dict(),
                used=clock.used,
                step=step,
                seen=seen,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="joint")
    parser.add_argument("--start", default="stage0", help="stage 0 checkpoint to start from")
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--rate", type=float, default=1.5e-3, help="peak rate of projector and decoder")
    parser.add_argument("--encoder-rate", type=float, default=1e-3)
    parser.add_argument("--weight", type=float, default=2.0, help="of the answers against stage 0's heads")
    parser.add_argument(
        "--every", type=int, default=300, help="steps from one measurement and checkpoint to the next"
    )
    parser.add_argument("--batch", type=int, default=10, help="images per process and step")
    parser.add_argument("--words", type=float, default=0.58, help="share of images that are words")
    parser.add_argument(
        "--freeze", type=int, default=2, help="leading stages, and the stem, that stay as they are"
    )
    parser.add_argument("--questions", type=int, default=4)
    parser.add_argument("--port", type=int, default=29541)
    workers.launch(work, parser.parse_args())


if __name__ == "__main__":
    main()
