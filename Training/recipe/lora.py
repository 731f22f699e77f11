"""Low-rank adapters on the decoder's linear layers (peft), and their merging at export."""

from torch import nn


def adapt(decoder: nn.Module, settings: dict) -> nn.Module:
    """Adapters in place; settings: rank, alpha, dropout, targets (names of linear layers)."""
    from peft import LoraConfig, inject_adapter_in_model

    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    config = LoraConfig(
        r=settings.get("rank", 16),
        lora_alpha=settings.get("alpha", 32),
        lora_dropout=settings.get("dropout", 0.0),
        target_modules=settings.get("targets", targets),
    )
    return inject_adapter_in_model(config, decoder)


def merged(decoder: nn.Module) -> nn.Module:
    """The decoder with its adapters added into the weights, under its ordinary names."""
    from peft.tuners.lora import LoraLayer

    for module in list(decoder.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, LoraLayer):
                child.merge()
                setattr(module, name, child.get_base_layer())
    return decoder
