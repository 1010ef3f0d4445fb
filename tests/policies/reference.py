"""The transformer written once more, in NumPy loops: one sequence, layer, head and position at a time."""

import numpy as np


def log_softmax(x):
    x = x - x.max()
    return x - np.log(np.exp(x).sum())


def norm(x, weight, eps):
    return weight * x / np.sqrt(np.mean(x * x) + eps)


def frequency(rope, pair, width):
    """Radians per position of one feature pair, by cases; yarn's bounds as a count of pairs, one at a time."""
    plain = rope.theta ** (-2 * pair / width)
    turns = rope.trained * plain / (2 * np.pi)
    slow = plain / rope.factor
    if rope.kind == "linear":
        return slow
    if rope.kind == "llama3":
        if turns <= rope.low:
            return slow
        if turns >= rope.high:
            return plain
        share = (turns - rope.low) / (rope.high - rope.low)
        return share * plain + (1 - share) * slow
    if rope.kind == "yarn":
        # the index, not a whole number, at which a pair makes so many turns
        at = {
            n: width / 2 * np.log(rope.trained / (2 * np.pi * n)) / np.log(rope.theta)
            for n in (rope.low, rope.high)
        }
        first, last = max(np.floor(at[rope.high]), 0), min(np.ceil(at[rope.low]), width - 1)
        if pair <= first:
            return plain
        if pair >= last:
            return slow
        share = (pair - first) / (last - first)
        return (1 - share) * plain + share * slow
    return plain


def turn(vector, position, rope):
    """Rotary embedding by complex numbers: feature i and feature i + D/2 are the parts of one number."""
    half = len(vector) // 2
    z = vector[:half] + 1j * vector[half:]
    z = z * np.exp(1j * position * np.array([frequency(rope, i, len(vector)) for i in range(half)]))
    gain = 1 + np.log(rope.factor) / 10 if rope.kind == "yarn" else 1.0
    return gain * np.concatenate([z.real, z.imag])


def next_token_logprobs(config, params, tokens):
    """Log-probabilities of the next token after each of ``tokens``: [len(tokens), vocab]."""
    c, d = config, config.head_width
    x = [np.asarray(params["embed"], np.float64)[t] for t in tokens]
    for i in range(c.layers):
        w = {name: np.asarray(array[i], np.float64) for name, array in params["layers"].items()}
        normed = [norm(v, w["attention_norm"], c.norm_eps) for v in x]
        heads = {}
        for name in ("query", "key", "value"):
            bias = w.get(f"{name}_bias", 0.0)
            rows = [v @ w[name] + bias for v in normed]
            heads[name] = [r.reshape(-1, d) for r in rows]
            if c.qk_norm and name != "value":
                heads[name] = [[norm(h, w[f"{name}_norm"], c.norm_eps) for h in r] for r in heads[name]]
            if name != "value" and (c.rotary is None or c.rotary[i]):
                heads[name] = [[turn(h, s, c.positions) for h in r] for s, r in enumerate(heads[name])]
        for s in range(len(tokens)):
            out = []
            for h in range(c.heads):
                n = h // (c.heads // c.kv_heads)
                query = heads["query"][s][h]
                scores = [query @ heads["key"][u][n] / np.sqrt(d) for u in range(s + 1)]
                weights = np.exp(log_softmax(np.array(scores)))
                out.append(sum(a * heads["value"][u][n] for u, a in enumerate(weights)))
            x[s] = x[s] + np.concatenate(out) @ w["output"]
        for s in range(len(tokens)):
            v = norm(x[s], w["mlp_norm"], c.norm_eps)
            gate = v @ w["gate"]
            x[s] = x[s] + (gate / (1 + np.exp(-gate)) * (v @ w["up"])) @ w["down"]
    final = np.asarray(params["norm"], np.float64)
    head = np.asarray(params["embed"]).T if c.tied else np.asarray(params["head"])
    return np.stack([log_softmax(norm(v, final, c.norm_eps) @ head / c.temperature) for v in x])


def completion_logprobs(config, params, prompt, completion):
    """Log-probabilities [T] of a completion after a prompt without padding; zero after the stop token."""
    tokens = [*prompt, *completion]
    table = next_token_logprobs(config, params, tokens)
    out = np.zeros(len(completion))
    for t, token in enumerate(completion):
        out[t] = table[len(prompt) + t - 1, token]
        if token == config.stop:
            break
    return out
