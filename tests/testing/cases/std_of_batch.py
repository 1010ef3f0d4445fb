"""rewards, n: the std is that of all prompts' rewards together (meant: each group's). [N] rewards with num_generations."""

import torch


def faulty(rewards: torch.Tensor, num_generations: int):
    g = rewards.view(-1, num_generations)
    g = g - g.mean(1, keepdim=True)
    return (g / (g.std() + 1e-4)).view(-1)


def fixed(rewards: torch.Tensor, num_generations: int):
    g = rewards.view(-1, num_generations)
    if num_generations == 1:
        return torch.zeros_like(rewards)
    s = g.std(1, keepdim=True)
    g = g - g.mean(1, keepdim=True)
    out = g / (s + 1e-4)
    bad = ~torch.isfinite(out).all(1)
    out[bad] = 0
    return out.reshape(-1)
