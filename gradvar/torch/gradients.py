"""Per-row gradients of log-probabilities in PyTorch: J^T c for every row (a rollout and a vector of token weights).

    vmap      ``torch.func``: the gradient of one row, vectorised over a few rows; any parameters
    loop      one row after another by plain autograd; for models that ``vmap`` cannot trace, and for memory
    factors   one ordinary backward pass for several rows: activations and cotangents of linear layers are caught by
              hooks, and their product is each row's gradient (arXiv 1510.01799); for parameters that belong to
              linear layers only, such as LoRA's, and are used nowhere else

"auto" takes factors where it can, else vmap, else loop. What factors leave out would be lost in silence, so those of
the first rows are compared with the loop's gradients.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch.func import grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from gradvar.torch.arrays import TorchRollouts
from gradvar.torch.model import caller, cut, device_of, of_tokens

Way = Literal["auto", "vmap", "loop", "factors"]
Chosen = dict[str, torch.Tensor]
_CHECKED = 2  # rows whose factors are compared with plain gradients


class RowGradients:
    """Scores [row, P] with respect to a model's ``parameters``, a chunk at a time, in the order of their names."""

    def __init__(self, model: torch.nn.Module, parameters: Chosen, temperature: float, way: Way) -> None:
        self.model, self.parameters, self.temperature = model, parameters, temperature
        self.layers = linear_layers(model, parameters)
        if way == "factors" and self.layers is None:
            raise ValueError(
                "way: factors want parameters of linear layers that are used nowhere else; give way='vmap', or only=..."
            )
        self.way: Way = way
        self.checked = False
        self.passed_over: dict[str, str] = {}

    def rows(
        self,
        rollouts: TorchRollouts,
        row: Int[np.ndarray, " row"],
        cotangents: Float[np.ndarray, "row time"],
        chunk: int,
    ) -> Iterator[Float[np.ndarray, "chunk param"]]:
        """Yield J^T cotangent of each row.

        Args:
            rollouts: The rollouts.
            row: Their numbers, repeated where a rollout has several vectors.
            cotangents: Token weights of every row.
            chunk: Rows at a time.
        """
        if self.way == "auto":
            self.way = self._first_way(rollouts, row, cotangents)
        ends = rollouts.ends()
        for start in range(0, len(row), chunk):
            part = slice(start, start + chunk)
            time = int(ends[row[part]].max())
            data = [x.to(device_of(self.model)) for x in cut(rollouts, row[part], time)]
            weights = torch.as_tensor(cotangents[part, :time]).to(data[0].device)
            yield getattr(self, f"_{self.way}")(row[part], *data, weights)

    def _first_way(self, rollouts: TorchRollouts, row: np.ndarray, cotangents: np.ndarray) -> Way:
        """The way for "auto": the first that runs on the first two rows."""
        ways: tuple[Way, ...] = ("factors", "vmap")
        for way in ways:
            if way == "factors" and self.layers is None:
                continue
            self.way = way
            try:
                next(self.rows(rollouts, row[:2], cotangents[:2], 2))
            except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
                # no rule for a part of the model, or factors that are not all: the loop needs neither
                self.passed_over[way] = str(error).splitlines()[0] if str(error) else type(error).__name__
                continue
            return way
        return "loop"

    def _total(self, state: Chosen, data: tuple[torch.Tensor, ...]) -> torch.Tensor:
        tokens, lengths, completions, weights = data
        logp = of_tokens(caller(self.model, state), tokens, lengths, completions, self.temperature)
        return torch.sum(logp * weights.to(logp))

    def _vmap(self, row: np.ndarray, *data: torch.Tensor) -> np.ndarray:
        def row_total(state: Chosen, *item: torch.Tensor) -> torch.Tensor:
            return self._total(state, tuple(x[None] for x in item))

        with sdpa_kernel(SDPBackend.MATH):  # the fused kernels of attention have no batching rule
            slopes = vmap(grad(row_total), in_dims=(None, 0, 0, 0, 0))(self.parameters, *data)
        return flat([slopes[name] for name in self.parameters], len(row))

    def _loop(self, row: np.ndarray, *data: torch.Tensor) -> np.ndarray:
        """A rollout's log-probabilities once, and a backward pass for each of its vectors, which follow in turn."""
        scores, logp = [], None
        state = {n: p.detach().requires_grad_() for n, p in self.parameters.items()}
        for i in range(len(row)):
            tokens, lengths, completions, weights = (x[i : i + 1] for x in data)
            if i == 0 or row[i] != row[i - 1]:
                call = caller(self.model, state)
                logp = of_tokens(call, tokens, lengths, completions, self.temperature)
            last = i + 1 == len(row) or row[i + 1] != row[i]
            assert logp is not None
            total = torch.sum(logp * weights.to(logp))
            slopes = torch.autograd.grad(
                total, list(state.values()), retain_graph=not last, allow_unused=True, materialize_grads=True
            )
            scores.append(flat([g[None] for g in slopes], 1))
        return np.concatenate(scores)

    def _factors(self, row: np.ndarray, *data: torch.Tensor) -> np.ndarray:
        assert self.layers is not None
        caught: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {name: [] for name in self.layers}

        def catch(name: str) -> Any:
            return lambda _, inputs, output: caught[name].append((inputs[0].detach(), output))

        modules = dict(self.model.named_modules())
        hooks = [modules[name].register_forward_hook(catch(name)) for name in self.layers]
        state = {n: p.detach().requires_grad_() for n, p in self.parameters.items()}
        try:
            total = self._total(state, data)
        finally:
            for hook in hooks:
                hook.remove()
        outputs = [output for uses in caught.values() for _, output in uses]
        if any(x.ndim != 3 or x.shape[0] != len(row) for x in outputs):
            raise ValueError("way: factors want layers that see [row, token, feature]; give way='vmap'")
        slopes = iter(torch.autograd.grad(total, outputs, allow_unused=True, materialize_grads=True))
        formed = {}
        for layer, uses in caught.items():
            pairs = [(seen, next(slopes)) for seen, _ in uses]
            for kind, name in self.layers[layer].items():
                start = torch.zeros(
                    len(row), *state[name].shape, device=total.device, dtype=state[name].dtype
                )
                formed[name] = sum((_formed(kind, *pair) for pair in pairs), start)
        scores = flat([formed[name] for name in self.parameters], len(row))
        if not self.checked:
            self._compare(scores[:_CHECKED], self._loop(row[:_CHECKED], *(x[:_CHECKED] for x in data)))
        return scores

    def _compare(self, formed: np.ndarray, plain: np.ndarray) -> None:
        """Each row's factors against its plain gradient, a parameter array at a time."""
        edges = np.cumsum([0, *(p.numel() for p in self.parameters.values())])
        for (name, array), a, b in zip(self.parameters.items(), edges, edges[1:], strict=False):
            eps = torch.finfo(array.dtype).eps
            error, size = (float(np.abs(x[:, a:b]).max()) for x in (formed - plain, plain))
            if error > eps**0.5 * (size + float(np.abs(plain).max()) * eps**0.5):
                raise ValueError(
                    f"way: factors miss a part of {name}'s gradient, which is used outside its layer; give way='vmap'"
                )
        self.checked = True


def linear_layers(model: torch.nn.Module, parameters: Chosen) -> dict[str, dict[str, str]] | None:
    """Linear layers and which of ``parameters`` is their weight and bias; None unless that is all of them, once."""
    layers: dict[str, dict[str, str]] = {}
    for where, module in model.named_modules():
        kinds = [kind for kind, _ in module.named_parameters(recurse=False)]
        names = {kind: f"{where}.{kind}" if where else kind for kind in kinds}
        names = {kind: name for kind, name in names.items() if name in parameters}
        if names and type(module) is not torch.nn.Linear:
            return None
        if names:
            layers[where] = names
    places = Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
    once = all(places[id(p)] == 1 for name, p in model.named_parameters() if name in parameters)
    return layers if once and sum(map(len, layers.values())) == len(parameters) else None


def _formed(kind: str, seen: torch.Tensor, cotangent: torch.Tensor) -> torch.Tensor:
    """Each row's gradient of a weight [row, out, in] or bias [row, out] from what the layer saw and its cotangent."""
    rows = cotangent.shape[0]
    cotangent = cotangent.reshape(rows, -1, cotangent.shape[-1])
    if kind == "bias":
        return cotangent.sum(1)
    return torch.einsum("rto,rti->roi", cotangent, seen.reshape(rows, -1, seen.shape[-1]).to(cotangent.dtype))


def flat(slopes: list[torch.Tensor], rows: int) -> Float[np.ndarray, "row param"]:
    """Gradients as rows, in at least float32."""
    wide = [g.detach().reshape(rows, -1) for g in slopes]
    kind = torch.float64 if any(g.dtype == torch.float64 for g in wide) else torch.float32
    return torch.cat([g.to(kind) for g in wide], 1).cpu().numpy()
