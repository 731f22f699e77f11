"""Held-out accuracy of an exported checkpoint, and a check that transformers gives the same answers."""

import argparse
import json
import pathlib

import torch
from PIL import Image
from safetensors.torch import load_file
from tokenizers import Tokenizer

import vlm
from data import Scenes
from fast_ops import accelerate
from model import SIDE, features, make_encoder


def load(path: pathlib.Path) -> tuple[torch.nn.Module, vlm.Language, vlm.Prompts]:
    """Encoder, language part and prompts of an exported checkpoint, its bfloat16 weights in float32."""
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    state = {
        k: v.float() if v.is_floating_point() else v for k, v in load_file(path / "model.safetensors").items()
    }

    def part(prefix: str) -> dict[str, torch.Tensor]:
        return {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}

    encoder, language = make_encoder(training=False), vlm.Language(tokenizer)
    encoder.load_state_dict(part("model.vision_tower.timm_model."))
    language.projector.load_state_dict(part("model.multi_modal_projector."))
    language.decoder.load_state_dict(part("model.language_model."))
    return accelerate(encoder).eval(), language.eval(), vlm.Prompts(tokenizer)


class Reference:
    """transformers' FastVlmForConditionalGeneration on the exported checkpoint, float32, greedy."""

    def __init__(self, path: pathlib.Path):
        from transformers import AutoTokenizer, FastVlmForConditionalGeneration

        self.model, report = FastVlmForConditionalGeneration.from_pretrained(
            path, dtype=torch.float32, output_loading_info=True
        )
        if any(report[k] for k in ("missing_keys", "unexpected_keys", "mismatched_keys")):
            raise ValueError(f"the checkpoint does not fit transformers' model: {report}")
        self.model.eval()
        self.tokenizer = AutoTokenizer.from_pretrained(path)
        self.image_token = self.model.config.image_token_id

    @torch.no_grad()
    def answer(self, image: Image.Image, question: str) -> str:
        side = max(image.size)
        square = Image.new("RGB", (side, side))
        square.paste(image.convert("RGB"), ((side - image.width) // 2, (side - image.height) // 2))
        if side != SIDE:
            square = square.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        import numpy

        pixels = torch.from_numpy(numpy.array(square)).permute(2, 0, 1)[None].float() / 255
        head = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
        tail = f"\n{question}<|im_end|>\n<|im_start|>assistant\n"
        ids = self.tokenizer.encode(head, add_special_tokens=False) + [self.image_token] * vlm.TOKENS
        ids = torch.tensor([ids + self.tokenizer.encode(tail, add_special_tokens=False)])
        out = self.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            pixel_values=pixels,
            max_new_tokens=24,
            do_sample=False,
        )
        return self.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True).strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=pathlib.Path, default=pathlib.Path("../Models/fastvlm-small"))
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--compare", type=int, default=40, help="questions also put to transformers")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/evaluation.json"))
    args = parser.parse_args()
    torch.set_num_threads(2)
    encoder, language, prompts = load(args.model)
    held = Scenes("held", args.images)

    with torch.no_grad():
        steps = range(0, len(held), 32)
        batches = [features(encoder, held.batch(range(i, min(i + 32, len(held))))) for i in steps]
    known = torch.cat(batches)

    results = {}
    items: list[dict] = []
    for name, unseen in (("known phrasings", False), ("held-out phrasings", True)):
        report: list[dict] = []
        vlm.by_task(
            language, prompts, lambda chosen: known[chosen], held.described, held=unseen, report=report
        )
        for item in report:
            scene = held.described[item["index"]]
            item["group"] = item["task"] + (
                f" ({scene['family']})" if item["task"] in ("count", "describe") else ""
            )
        results[name] = {}
        for group in sorted({i["group"] for i in report}):
            rights = [i["right"] for i in report if i["group"] == group]
            results[name][group] = {"exact": round(sum(rights) / len(rights), 4), "items": len(rights)}
        items += report
    if args.compare:
        reference = Reference(args.model)
        same = 0
        chosen = items[:: max(1, len(items) // args.compare)][: args.compare]
        for item in chosen:
            text = reference.answer(Image.fromarray(held.image(item["index"])), item["question"])
            same += (text == item["answer"]) == item["right"]
        results["transformers agrees on right or wrong"] = f"{same} of {len(chosen)}"
    args.out.write_text(json.dumps({"results": results, "items": items}))
    print("| task | known phrasings | phrasings held out | items |\n|---|---|---|---|")
    known, unseen = results["known phrasings"], results["held-out phrasings"]
    for group, found in known.items():
        print(f"| {group} | {found['exact']:.1%} | {unseen[group]['exact']:.1%} | {found['items']} |")
    print(results.get("transformers agrees on right or wrong", ""))


if __name__ == "__main__":
    main()
