"""Small causal models: a plain function with its NumPy double, an Equinox GRU, an NNX attention layer; and bad ones."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

VOCAB, STOP, PAD = 4, 3, 4


def plain(params, tokens):
    """Mean of the embeddings so far and a table of positions, through tanh."""
    count = jnp.arange(1, tokens.shape[1] + 1)[:, None]
    mean = jnp.cumsum(params["embed"][tokens], axis=1) / count
    return jnp.tanh(mean + params["place"][: tokens.shape[1]]) @ params["head"]


def plain_params(seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    shapes = {"embed": (VOCAB, 6), "place": (16, 6), "head": (6, VOCAB)}
    return {name: jnp.asarray(1.5 * rng.normal(size=shape), dtype) for name, shape in shapes.items()}


def plain_numpy(params, prompt, completion):
    """Log-probabilities of the completion's tokens after a prompt without padding, a token at a time."""
    embed, place, head = (np.asarray(params[name]) for name in ("embed", "place", "head"))
    found, seen = [], list(prompt)
    for token in completion:
        logits = np.tanh(np.mean([embed[t] for t in seen], axis=0) + place[len(seen) - 1]) @ head
        found.append(logits[token] - np.log(np.sum(np.exp(logits))))
        seen.append(token)
        if token == STOP:
            break
    return np.array(found + [0.0] * (len(completion) - len(found)))


class Recurrent(eqx.Module):
    """An Equinox model, called on one row of tokens."""

    embed: eqx.nn.Embedding
    cell: eqx.nn.GRUCell
    head: eqx.nn.Linear
    steps: jax.Array  # an array that is no parameter

    def __init__(self, key, vocab=VOCAB, width=8):
        keys = jax.random.split(key, 3)
        self.embed = eqx.nn.Embedding(vocab, width, key=keys[0])
        self.cell = eqx.nn.GRUCell(width, width, key=keys[1])
        self.head = eqx.nn.Linear(width, vocab, key=keys[2])
        self.steps = jnp.arange(3)

    def __call__(self, tokens):
        def step(state, token):
            state = self.cell(self.embed(token), state)
            return state, self.head(state)

        return jax.lax.scan(step, jnp.zeros(self.cell.hidden_size, self.head.weight.dtype), tokens)[1]


def attention(key, width=8):
    """A Flax NNX model: one causal attention layer, with a dropout that is off."""
    from flax import nnx

    class Attention(nnx.Module):
        def __init__(self, rngs):
            self.embed = nnx.Embed(VOCAB, width, rngs=rngs)
            self.mix = nnx.MultiHeadAttention(2, width, decode=False, rngs=rngs)
            self.drop = nnx.Dropout(0.5, rngs=rngs)
            self.head = nnx.Linear(width, VOCAB, rngs=rngs)

        def __call__(self, tokens):
            x = self.embed(tokens)
            x = x + self.mix(x, mask=nnx.make_causal_mask(tokens))
            return self.head(self.drop(x))

    model = Attention(nnx.Rngs(key))
    model.eval()
    return model


def looks_around(params, tokens):
    return plain(params, tokens) + 1e-3 * params["embed"][tokens].mean(axis=1, keepdims=True) @ params["head"]


def looks_one_ahead(params, tokens):
    return plain(params, jnp.roll(tokens, -1, axis=1))


def hides_its_look_ahead(params, tokens):
    """A last layer of zeros: at these parameters no logit depends on anything."""
    return looks_around(params, tokens)


def counts_from_the_right(params, tokens):
    return plain(params, tokens) + jnp.arange(tokens.shape[1])[::-1, None]


def mixes_rows(params, tokens):
    found = plain(params, tokens)
    return found - found.mean(axis=0)


def is_nan(params, tokens):
    return plain(params, tokens).at[:, 2].set(jnp.nan)


def lacks_the_vocabulary(params, tokens):
    return plain(params, tokens)[..., :-1]


def says_whole_numbers(params, tokens):
    return jnp.zeros((*tokens.shape, VOCAB), jnp.int32)
