"""tr Cov of per-rollout scores as PyTorch users compute it; run by ``run.py`` in an environment of its own.

    python peers.py TOOL DATA.npz     then one line on standard input for every measurement

Each tool gets the same parameters and rollouts, and gives sum ||s_i||^2 and sum s_i, from which tr Cov follows.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn


class Norm(nn.Module):
    """RMS norm with a gain."""

    def __init__(self, weight: torch.Tensor, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(weight.clone()), eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps))


def linear(weight: torch.Tensor) -> nn.Linear:
    made = nn.Linear(*weight.shape, bias=False)
    made.weight = nn.Parameter(weight.T.clone())
    return made


def rotate(x: torch.Tensor, theta: float) -> torch.Tensor:
    """Rotary embedding of [rollout, token, head, feature]."""
    half = x.shape[-1] // 2
    angles = torch.arange(x.shape[1])[:, None, None] * theta ** (-torch.arange(half) / half)
    cos, sin = angles.cos(), angles.sin()
    one, two = x[..., :half], x[..., half:]
    return torch.cat([one * cos - two * sin, two * cos + one * sin], -1)


class Block(nn.Module):
    def __init__(self, w: dict[str, torch.Tensor], layer: int, meta: dict[str, Any]) -> None:
        super().__init__()
        self.meta = meta
        self.before, self.between = (Norm(w[n][layer], meta["eps"]) for n in ("attention_norm", "mlp_norm"))
        # not "output": BackPACK keeps a module's output under that name
        self.query, self.key, self.value, self.mix, self.gate, self.up, self.down = (
            linear(w[n][layer]) for n in ("query", "key", "value", "output", "gate", "up", "down")
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, _ = x.shape
        h, m = self.before(x), self.meta
        q, k, v = (layer(h) for layer in (self.query, self.key, self.value))
        q = rotate(q.view(n, t, m["heads"], -1), m["theta"]).transpose(1, 2)
        k = rotate(k.view(n, t, m["kv_heads"], -1), m["theta"]).transpose(1, 2)
        v = v.view(n, t, m["kv_heads"], -1).transpose(1, 2)
        repeat = m["heads"] // m["kv_heads"]
        k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        scores = scores.masked_fill(torch.ones(t, t, dtype=torch.bool).triu(1), float("-inf"))
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(n, t, -1)
        x = x + self.mix(mixed)
        h = self.between(x)
        return x + self.down(nn.functional.silu(self.gate(h)) * self.up(h))


class Net(nn.Module):
    def __init__(self, w: dict[str, torch.Tensor], meta: dict[str, Any]) -> None:
        super().__init__()
        self.embed = nn.Embedding.from_pretrained(w["embed"].clone(), freeze=False)
        self.blocks = nn.ModuleList([Block(w, i, meta) for i in range(meta["layers"])])
        self.norm, self.head = Norm(w["norm"], meta["eps"]), linear(w["head"])

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def sequence_logp(logits: torch.Tensor, tokens: torch.Tensor, mask: torch.Tensor, past: int) -> torch.Tensor:
    """Each rollout's log-probability, summed over its own tokens."""
    logp = logits[:, past - 1 :].log_softmax(-1)
    return (logp.gather(-1, tokens[:, past:, None])[..., 0] * mask).sum(-1)


Pair = tuple[float, float]


def flat_square(parts: Any) -> float:
    return float(sum((p.double() ** 2).sum() for p in parts))


class Tools:
    """One method per tool: (sum ||s_i||^2, ||sum s_i||^2)."""

    def __init__(self, data: dict[str, np.ndarray]) -> None:
        self.meta = json.loads(str(data["meta"]))
        names = [n for n in data if n not in ("meta", "tokens", "mask")]
        self.net = Net({n: torch.from_numpy(data[n]) for n in names}, self.meta)
        self.tokens = torch.from_numpy(data["tokens"]).long()
        self.mask = torch.from_numpy(data["mask"]).float()
        self.fed = self.tokens[:, :-1].contiguous()  # the last token predicts nothing
        self.past = self.tokens.shape[1] - self.mask.shape[1]

    def logp(self, net: Any) -> torch.Tensor:
        return sequence_logp(net(self.fed), self.tokens, self.mask, self.past)

    def loop(self) -> Callable[[], Pair]:
        params = list(self.net.parameters())

        def run() -> Pair:
            total, squares = [torch.zeros_like(p) for p in params], 0.0
            for i in range(len(self.tokens)):
                one = slice(i, i + 1)
                logits = self.net(self.fed[one])
                value = sequence_logp(logits, self.tokens[one], self.mask[one], self.past).sum()
                grads = torch.autograd.grad(value, params)
                squares += float(sum((g**2).sum() for g in grads))
                for t, g in zip(total, grads, strict=True):
                    t += g
            return squares, flat_square(total)

        return run

    def torch_func(self, chunk: int) -> Callable[[], Pair]:
        params = {n: p.detach() for n, p in self.net.named_parameters()}

        def value(p: dict[str, torch.Tensor], tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            logits = torch.func.functional_call(self.net, p, (tokens[None, :-1],))
            return sequence_logp(logits, tokens[None], mask[None], self.past).sum()

        each = torch.func.vmap(torch.func.grad(value), in_dims=(None, 0, 0))

        def run() -> Pair:
            total, squares = {n: torch.zeros_like(p) for n, p in params.items()}, 0.0
            for start in range(0, len(self.tokens), chunk):
                at = slice(start, start + chunk)
                for n, g in each(params, self.tokens[at], self.mask[at]).items():
                    squares += float((g**2).sum())
                    total[n] += g.sum(0)
            return squares, flat_square(total.values())

        return run

    def backpack(self) -> Callable[[], Pair]:
        from backpack import backpack, extend
        from backpack.extensions import BatchL2Grad
        from backpack.extensions.firstorder.base import FirstOrderModuleExtension

        class NormSquares(FirstOrderModuleExtension):
            def __init__(self) -> None:
                super().__init__(params=["weight"])

            def weight(self, ext: Any, module: Any, g_inp: Any, g_out: Any, bpQuantities: Any) -> Any:
                x = module.input0
                scaled = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + module.eps)
                return ((g_out[0] * scaled).sum(1) ** 2).sum(-1)

        net, extension = extend(self.net), BatchL2Grad()
        extension.set_module_extension(Norm, NormSquares())

        def run() -> Pair:
            net.zero_grad()
            with backpack(extension):
                self.logp(net).sum().backward()
            squares = float(sum(p.batch_l2.double().sum() for p in net.parameters()))
            return squares, flat_square(p.grad for p in net.parameters())

        return run

    def _opacus(self, ghost: bool) -> Callable[[], Pair]:
        from opacus.grad_sample import GradSampleModule, register_grad_sampler, register_norm_sampler
        from opacus.grad_sample.grad_sample_module_fast_gradient_clipping import (
            GradSampleModuleFastGradientClipping,
        )

        def of_norm(layer: Any, activations: Any, backprops: torch.Tensor) -> torch.Tensor:
            x = activations[0]
            scaled = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + layer.eps)
            return (backprops * scaled).sum(1)

        register_grad_sampler(Norm)(lambda m, a, b: {m.weight: of_norm(m, a, b)})
        register_norm_sampler(Norm)(lambda m, a, b: {m.weight: of_norm(m, a, b).norm(dim=-1)})
        if ghost:
            wrapped: Any = GradSampleModuleFastGradientClipping(
                self.net, max_grad_norm=1.0, use_ghost_clipping=True, loss_reduction="sum"
            )
        else:
            wrapped = GradSampleModule(self.net, loss_reduction="sum")

        def run() -> Pair:
            wrapped.zero_grad()
            self.logp(wrapped).sum().backward()
            params = list(wrapped.parameters())
            total = flat_square(p.grad for p in params)
            if ghost:
                return float(sum((p._norm_sample.double() ** 2).sum() for p in params)), total
            squares = float(sum((p.grad_sample**2).sum() for p in params))
            for p in params:
                p.grad_sample = None
            return squares, total

        return run

    def make(self, tool: str) -> Callable[[], Pair]:
        """The named tool, ready to run."""
        if tool.startswith("torch.func"):
            return self.torch_func(min(int(tool.split()[-1]), len(self.tokens)))
        makers = {
            "loop": self.loop, "backpack": self.backpack, "opacus": lambda: self._opacus(False),
            "opacus ghost": lambda: self._opacus(True),
        }  # fmt: skip
        return makers[tool]()


def serve(run: Callable[[], Pair], count: int) -> None:
    """Measure once for every line on standard input; the first one warms up."""
    idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        squares, total = run()
        found = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        found["value"] = (squares - total / count) / (count - 1)
        found["peak_mb"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - idle) / 1024
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    tools = Tools(dict(np.load(sys.argv[2])))
    serve(tools.make(sys.argv[1]), len(tools.tokens))
