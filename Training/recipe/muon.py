"""AdamW for everything but the hidden layers' matrices, whose momentum is orthogonalised first (Muon).

Every direction of such a matrix then learns at the same pace, which needs fewer images for the same loss. Updates are
scaled to the size of AdamW's, so the same rate serves both. With several processes each does a part of the matrices.
"""

import torch


def hidden(name: str, p: torch.Tensor) -> bool:
    """Whether a parameter is the matrix of a hidden layer: pointwise convolutions count, embeddings do not."""
    inside = not any(part in name for part in ("embed_tokens", "head"))
    return inside and p.dim() in (2, 4) and p.shape[2:].numel() == 1 and min(p.shape[:2]) > 1


def orthogonal(g: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Newton-Schulz iterations towards U V^T of the singular value decomposition."""
    x = g.mT if g.shape[0] > g.shape[1] else g
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.mT if g.shape[0] > g.shape[1] else x


def split(groups: list[dict], module: torch.nn.Module) -> list[dict]:
    """The groups with hidden matrices in groups of their own."""
    names = {id(p): name for name, p in module.named_parameters()}
    out = []
    for group in groups:
        for chosen in (True, False):
            picked = [p for p in group["params"] if hidden(names[id(p)], p) == chosen]
            if picked:
                out.append(group | {"params": picked, "orthogonal": chosen})
    return out


class Muon(torch.optim.AdamW):
    def __init__(self, groups: list[dict], rank: int, world: int, momentum: float = 0.95, **settings):
        super().__init__(groups, **settings)
        self.rank, self.world, self.momentum = rank, world, momentum

    @torch.no_grad()
    def step(self, closure=None):
        groups = [g for g in self.param_groups if g["orthogonal"]]
        chosen = [(p, g) for g in groups for p in g["params"] if p.grad is not None]
        updates = [torch.zeros_like(p) for p, _ in chosen]
        for i, (p, _) in enumerate(chosen):
            if not self.state[p]:  # AdamW reads a step back from every state it loads
                self.state[p].update(step=torch.tensor(0.0), momentum=torch.zeros_like(p))
            kept = self.state[p]["momentum"]
            kept.lerp_(p.grad, 1 - self.momentum)
            if i % self.world == self.rank:
                wanted = p.grad.lerp(kept, self.momentum).flatten(1)
                updates[i].copy_(orthogonal(wanted).view_as(p)).mul_(0.2 * max(wanted.shape) ** 0.5)
            p.grad = None  # AdamW passes it by
        if self.world > 1 and updates:
            flat = torch.cat([u.flatten() for u in updates])
            torch.distributed.all_reduce(flat)
            parts = flat.split([p.numel() for p, _ in chosen])
            updates = [u.view_as(p) for u, (p, _) in zip(parts, chosen)]
        for update, (p, group) in zip(updates, chosen):
            p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(update, alpha=group["lr"])
        return super().step(closure)
