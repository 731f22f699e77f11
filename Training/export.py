"""Writes a run as a Hugging Face `fast_vlm` checkpoint: python export.py runs/NAME OUT [--form trained]."""

import argparse
import json
import pathlib

from recipe import export


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--form", choices=["folded", "trained"], default="folded")
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--side", type=int, help="resolution of the checkpoint's preprocessing")
    args = parser.parse_args()
    network, _, config = export.network_of(args.run)
    side = args.side or config["data"].get("side", 256)
    tokenizer = config["model"]["tokenizer"]
    number = export.write(network, tokenizer, args.out, side, args.form, args.dtype)
    print(json.dumps({"parameters": number, "form": args.form, "side": side}))


if __name__ == "__main__":
    main()
