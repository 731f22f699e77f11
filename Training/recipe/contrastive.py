"""Objective "contrastive": stage 0 of the paper, image-text pretraining of the encoder.

CLIP's loss over the whole batch of all processes, and on request distillation as DataCompDR does it: the
batch's matrix of similarities should look like that of a stored teacher (members KEY.npz of a WebDataset,
with arrays `image` and `text`). The text tower is thrown away afterwards.
"""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from recipe import encoder as encoders
from recipe import sources


def gathered(x: torch.Tensor) -> tuple[torch.Tensor, int]:
    """The rows of all processes, with gradients, and where this process's rows start."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return x, 0
    from torch.distributed.nn.functional import all_gather

    return torch.cat(all_gather(x)), dist.get_rank() * len(x)


class Towers(nn.Module):
    def __init__(self, settings: dict, tokenizer: Tokenizer):
        super().__init__()
        self.encoder = encoders.make_encoder(**settings["encoder"])
        width = settings.get("embedding", 512)
        text = {
            "vocab_size": tokenizer.get_vocab_size(),
            "projection_dim": width,
            "max_position_embeddings": 77,
        }
        text["eos_token_id"] = tokenizer.token_to_id("<|im_end|>")
        self.text = CLIPTextModelWithProjection(CLIPTextConfig(**(text | settings["text"])))
        self.head = nn.Linear(2 * self.encoder.sizes["embed_dims"][4], width, bias=False)
        self.scale = nn.Parameter(torch.tensor(2.6592))
        self.share = settings.get("distillation", 0.0)
        self.teacher_scale = settings.get("teacher_scale", 70.0)

    def embed(self, batch: dict) -> tuple[torch.Tensor, torch.Tensor]:
        pixels = batch["pixels"].permute(0, 3, 1, 2).float().div_(255)
        image = self.head(encoders.tokens(self.encoder, pixels).mean(1))
        text = self.text(input_ids=batch["ids"], attention_mask=batch["there"]).text_embeds
        return F.normalize(image.float(), dim=-1), F.normalize(text.float(), dim=-1)

    def forward(self, batch: dict) -> dict:
        image, text = self.embed(batch)
        (images, first), (texts, _) = gathered(image), gathered(text)
        scale = self.scale.clamp(max=4.6052).exp()
        own = torch.arange(first, first + len(image), device=image.device)
        there, back = scale * image @ texts.t(), scale * text @ images.t()
        clip = (F.cross_entropy(there, own) + F.cross_entropy(back, own)) / 2
        found = {"loss": clip, "clip": clip, "right": (there.argmax(1) == own).float().mean().detach()}
        if self.share:
            ti, tt = (F.normalize(batch[k].float(), dim=-1) for k in ("teacher_image", "teacher_text"))
            (all_ti, _), (all_tt, _) = gathered(ti), gathered(tt)
            aims = [(self.teacher_scale * a @ b.t()).softmax(1) for a, b in ((ti, all_tt), (tt, all_ti))]
            logs = [x.log_softmax(1) for x in (there, back)]
            distilled = sum(F.kl_div(x, t, reduction="batchmean") for x, t in zip(logs, aims)) / 2
            found |= {"loss": (1 - self.share) * clip + self.share * distilled, "distilled": distilled}
        return found


class Contrastive:
    """The objective that recipe.engine runs."""

    def __init__(self, config: dict):
        model, data = config["model"], dict(config["data"])
        if config["train"]["accumulate"] > 1:
            raise ValueError("the contrastive loss compares the whole batch: train.accumulate must be 1")
        self.tokenizer = Tokenizer.from_file(model["tokenizer"])
        self.end = self.tokenizer.token_to_id("<|im_end|>")
        data.pop("watch", None)
        self.source = sources.make(data)
        self.module = Towers(model, self.tokenizer)
        if config["train"]["fast_cpu"]:
            from recipe.fast_ops import accelerate

            self.module.encoder = accelerate(self.module.encoder)

    def groups(self, trains: dict, decay: float) -> list[dict]:
        groups = []
        for part, factor in (trains | {"text": 1.0, "head": 1.0}).items():
            for matrix in (True, False):
                chosen = [p for p in getattr(self.module, part).parameters() if (p.dim() > 1) == matrix]
                if chosen:
                    groups.append(
                        {"params": chosen, "weight_decay": decay if matrix else 0.0, "factor": factor}
                    )
        return [*groups, {"params": [self.module.scale], "weight_decay": 0.0, "factor": 1.0}]

    def freeze(self, trains: dict, statistics: bool) -> None:
        self.module.train()
        for module in self.module.modules():
            if not statistics and isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()

    def check(self, sample: dict) -> None:
        """Raises what is missing of a sample, before it is part of a batch."""
        parts = ["pixels", "text", *(("teacher_image", "teacher_text") if self.module.share else ())]
        if missing := [part for part in parts if sample.get(part) is None]:
            raise ValueError(f"the sample has no {' and no '.join(missing)}")

    def weight(self, batch: dict) -> float:
        return len(batch["pixels"])

    def collate(self, samples: list[dict]) -> dict:
        ids = [
            self.tokenizer.encode(s["text"], add_special_tokens=False).ids[:76] + [self.end] for s in samples
        ]
        length = max(map(len, ids))
        out = {
            "pixels": torch.stack([torch.from_numpy(s["pixels"]) for s in samples]),
            "ids": torch.tensor([row + [self.end] * (length - len(row)) for row in ids]),
            "there": torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in ids]),
        }
        if self.module.share:
            for part in ("image", "text"):
                out[f"teacher_{part}"] = torch.stack(
                    [torch.from_numpy(s[f"teacher_{part}"]) for s in samples]
                )
        return out

    def watch(self, module: Towers) -> dict[str, float]:
        return {}
