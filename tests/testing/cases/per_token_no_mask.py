"""per-token loss, list of dicts batch etc.: JAX loss with dict batch; faulty divides by all positions."""

import jax.numpy as jnp


def _pg(lp, b):
    m = b["completion_mask"]
    r = jnp.exp(jnp.where(m > 0, lp - b["old_per_token_logps"], 0.0))
    a = b["advantages"][:, None]
    return -jnp.minimum(r * a, jnp.clip(r, 0.8, 1.2) * a) * m


def faulty(logps, batch):
    return _pg(logps, batch).mean()


def fixed(logps, batch):
    return _pg(logps, batch).sum() / jnp.maximum(batch["completion_mask"].sum(), 1)
