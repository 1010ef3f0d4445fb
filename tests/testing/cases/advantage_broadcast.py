"""rewards [B, 1] minus group mean [B] broadcasts to [B, B], then averaged."""

import torch


def faulty(rewards: torch.Tensor, group_size: int = 4):
    m = rewards.view(-1, group_size).mean(1).repeat_interleave(group_size)
    return (rewards.view(-1, 1) - m).mean(1)


def fixed(rewards: torch.Tensor, group_size: int = 4):
    m = rewards.view(-1, group_size).mean(1).repeat_interleave(group_size)
    return rewards - m
