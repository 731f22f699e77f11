#!/usr/bin/env python3
"""transformers' FastVLM as one program: image file to the first token's id. --precision float32 or bfloat16.

image file -> decode and preprocess -> vision tower and projector -> prefill of the prompt -> argmax of the
last position. The prompt is padded within the user's turn to --positions tokens, the visual ones included.
"""

import time
from pathlib import Path

import face


def arguments():
    parser = face.parser(__doc__)
    parser.add_argument("--image", type=Path, help="default: image-RESOLUTION.png among the models")
    parser.add_argument("--question", default="What are these?")
    parser.add_argument(
        "--channels-last", action="store_true", help="vision tower and pixels in that memory format"
    )
    return parser.parse_args()


def prepare(options) -> face.Prepared:
    if options.item != "ttft":
        raise face.Skip("torch_peer.py has the parts")
    if options.precision == "bfloat16":
        face.require_bfloat16(options)
    elif options.precision != "float32":
        raise face.Skip("float32 and bfloat16 only")
    image = face.need(options.image or options.models / f"image-{options.resolution}.png")
    import torch
    import transformers

    program = Program(options, image)
    settings = {"torch": torch.__version__, "channelsLast": options.channels_last}
    return face.Prepared(transformers.__version__, program.answer, settings)


class Program:
    def __init__(self, options, image: Path):
        import torch
        from transformers import AutoImageProcessor, AutoTokenizer, FastVlmForConditionalGeneration

        torch.set_num_threads(options.threads)
        torch.set_grad_enabled(False)
        self.options, self.image = options, image
        self.model = FastVlmForConditionalGeneration.from_pretrained(
            options.checkpoint, dtype=getattr(torch, options.precision)
        ).eval()
        if options.channels_last:
            self.model.model.vision_tower.to(memory_format=torch.channels_last)
        self.processor = AutoImageProcessor.from_pretrained(options.checkpoint)
        self.processor.size = {"shortest_edge": options.resolution}
        self.processor.crop_size = {"height": options.resolution, "width": options.resolution}
        self.tokenizer = AutoTokenizer.from_pretrained(options.checkpoint)

    def prompt(self, visual: int) -> list[int]:
        """Chat template ids around `visual` image ids, filled up to --positions."""
        content = [{"type": "image"}, {"type": "text", "text": self.options.question}]
        text = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        before, after = [self.ids(part) for part in text.split("<image>")]
        closing = self.ids("<|im_end|>\n<|im_start|>assistant\n")
        filler = self.ids(" please")[-1:]
        missing = max(0, self.options.positions - len(before) - visual - len(after))
        after = after[: -len(closing)] + filler * missing + closing
        return before + [self.model.config.image_token_id] * visual + after

    def ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False).input_ids

    def answer(self) -> dict:
        import torch
        from PIL import Image

        start = time.perf_counter()
        image = Image.open(self.image).convert("RGB")
        pixels = self.processor(images=image, return_tensors="pt")["pixel_values"].to(self.model.dtype)
        if self.options.channels_last:
            pixels = pixels.to(memory_format=torch.channels_last)
        prepared = time.perf_counter()
        visual = self.model.get_image_features(pixels, return_dict=True)
        encoded = time.perf_counter()
        ids = self.prompt(visual.pooler_output.shape[1])
        output = self.model(
            input_ids=torch.tensor([ids]),
            mm_encoder_outputs={"image": visual},
            use_cache=True,
            logits_to_keep=1,
        )
        token = int(output.logits[0, -1].argmax())
        end = time.perf_counter()
        stages = {"preprocess": prepared - start, "encode": encoded - prepared, "prefill": end - encoded}
        return {"seconds": end - start, "stages": stages, "promptTokens": len(ids), "token": token}


if __name__ == "__main__":
    face.serve("transformers", arguments(), prepare)
