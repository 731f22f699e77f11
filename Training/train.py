"""Runs one stage: python train.py configs/FILE.toml [--set name=value ...]; see README.md for torchrun."""

import os
import signal

from recipe import config as configs


def work(rank: int, args, world: int) -> None:
    import torch

    if world > 1:  # CPU processes started here; under torchrun these are set already
        os.environ.update(
            RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), LOCAL_WORLD_SIZE=str(world)
        )
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(args.port))
        # The end of the parent arrives as an interrupt, which what a shell starts in the background ignores.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // world))
    config = configs.load(args.config, args.set)
    torch.manual_seed(config["seed"])
    from recipe.engine import Run
    from recipe.objectives import make

    Run(config, make(config)).go()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def main() -> None:
    args = configs.arguments(__doc__)
    if args.processes == 1:
        return work(0, args, 1)
    import torch.multiprocessing as processes

    processes.spawn(work, (args, args.processes), nprocs=args.processes)


if __name__ == "__main__":
    main()
