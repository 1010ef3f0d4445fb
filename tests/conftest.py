"""Every test runs in double precision on the CPU, with shapes checked at run time."""

import jax

jax.config.update("jax_enable_x64", True)
