"""Work that is cut over devices and processes, so that the numbers do not depend on how many there are.

What is cut are rows (prompts, rows to be scored, chunks of replicates), each with the random keys of its global number;
every device runs the program that one device runs on its rows, and sums are taken of gathered parts in their order.
``Alone`` is one device, and calls what it is given as it is; ``Spread`` is a mesh (``jax.shard_map``), which may span
the processes of ``jax.distributed``. There every process runs the same program and gets all results.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, Protocol

import equinox as eqx
import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

Devices = Literal["all"] | int | Sequence[jax.Device]
"""All, so many of those of this process, or just these."""

_ROW = "row"
_CUT, _SAME = PartitionSpec(_ROW), PartitionSpec()


class Workers(Protocol):
    """Who shares the rows."""

    @property
    def size(self) -> int:
        """How many devices."""
        ...

    def at_most(self, units: int) -> Workers:
        """No more of them than there are units of work."""
        ...

    def over(self, function: Callable[..., PyTree], shared: tuple, rows: tuple) -> PyTree:
        """``function(first, *shared, *rows)``; ``rows`` have a leading axis that is a multiple of ``size``, as have the
        results. ``first`` is the number of the first row that a device is given."""
        ...

    def whole(self, found: PyTree) -> PyTree:
        """Results as arrays that hold all rows, on every process."""
        ...


class Alone:
    """One device."""

    size = 1

    def at_most(self, units: int) -> Workers:
        """The same."""
        return self

    def over(self, function: Callable[..., PyTree], shared: tuple, rows: tuple) -> PyTree:
        """All rows at once."""
        return function(0, *shared, *rows)

    def whole(self, found: PyTree) -> PyTree:
        """As they are."""
        return found


ALONE = Alone()


class Spread:
    """Several devices, of this process or of all."""

    def __init__(self, devices: Sequence[jax.Device]) -> None:
        self._mesh = Mesh(np.asarray(devices), (_ROW,))

    @property
    def size(self) -> int:
        """How many devices."""
        return int(self._mesh.devices.size)

    def at_most(self, units: int) -> Workers:
        """No more of them than there are units; across processes all take part, some for nothing."""
        if units >= self.size or jax.process_count() > 1:
            return self
        return workers(list(self._mesh.devices.flat[: max(1, units)]))

    def over(self, function: Callable[..., PyTree], shared: tuple, rows: tuple) -> PyTree:
        """Each device calls ``function`` with its rows."""
        call, same = self._place((function, shared), _SAME)
        return _cut_over(self._mesh, call, same, self._place(rows, _CUT))

    def whole(self, found: PyTree) -> PyTree:
        """In the memory of every process."""
        gather = partial(multihost_utils.process_allgather, tiled=True)
        return jax.tree.map(lambda x: np.asarray(x) if _here(x) else gather(x), found)

    def _place(self, tree: PyTree, spec: PartitionSpec) -> PyTree:
        sharding = NamedSharding(self._mesh, spec)
        return jax.tree.map(lambda x: _placed(x, sharding) if eqx.is_array_like(x) else x, tree)


def _here(x: Any) -> bool:
    """Whether this process holds all of an array."""
    return not isinstance(x, jax.Array) or x.is_fully_addressable


def _placed(x: Any, sharding: NamedSharding) -> Any:
    """An array on the mesh; every process holds all of ``x``, or it is on the mesh already."""
    if isinstance(x, bool | int | float | complex):  # static, as in a program for one device
        return x
    if isinstance(x, jax.Array) and (x.sharding == sharding or not _here(x)):
        return x
    if jax.process_count() == 1:
        return jax.device_put(x, sharding)
    if isinstance(x, jax.Array) and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
        data = _placed(jax.random.key_data(x), sharding)
        return jax.random.wrap_key_data(data, impl=str(jax.random.key_impl(x)))
    host = np.asarray(x)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


@eqx.filter_jit
def _cut_over(mesh: Mesh, function: Callable[..., PyTree], shared: tuple, rows: tuple) -> PyTree:
    arrays, rest = eqx.partition((function, shared, rows), eqx.is_array)
    each = len(jax.tree.leaves(rows)[0]) // mesh.devices.size

    def local(*arrays: Any) -> PyTree:
        first = jax.lax.axis_index(_ROW) * each
        call, same, cut = eqx.combine(arrays, rest)
        return call(first, *same, *cut)

    specs = (_SAME, _SAME, _CUT)
    return jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=_CUT, check_vma=False)(*arrays)


def workers(devices: Devices = "all") -> Workers:
    """Who does the work. Raises ``ValueError`` for devices that are not there, or not of all processes."""
    everything = list(jax.devices())
    if isinstance(devices, str):
        if devices != "all":
            raise ValueError(
                f"devices: '{devices}'; give 'all', a number, or a list such as jax.devices()[:2]"
            )
        meant = getattr(jax.config, "jax_default_device", None)  # who set a default device meant it
        chosen = everything if meant is None else [meant]
    elif isinstance(devices, int | np.integer):
        if not 1 <= devices <= len(everything):
            raise ValueError(
                f"devices: {devices}, and JAX sees {len(everything)}; give 1 to {len(everything)}, or 'all'"
            )
        chosen = list(everything[:devices])
    else:
        chosen = list(devices)
        if not chosen:
            raise ValueError("devices: the list is empty; give one at least, or 'all'")
    if len({d.process_index for d in chosen}) < jax.process_count():
        raise ValueError(
            f"devices: {len(chosen)} that are not of all {jax.process_count()} processes; give devices='all'"
        )
    if len(chosen) == 1 and (chosen[0] == everything[0] or devices == "all"):
        return ALONE  # where JAX puts things anyway
    return Spread(chosen)


def padded(rows: PyTree, multiple: int) -> PyTree:
    """Rows filled up to a multiple with copies of the last one."""
    size = len(jax.tree.leaves(rows)[0])
    at = np.minimum(np.arange(-(-size // multiple) * multiple), size - 1)
    return rows if len(at) == size else jax.tree.map(lambda x: x[at], rows)


def agreed(call: Callable[[], Array | np.ndarray], like: np.ndarray) -> np.ndarray:
    """What the first process finds, on all of them: for what is not the same twice, such as a verifier with a limit of
    time, or a disk. ``like`` has the result's shape and dtype. What it raises there is a ``ValueError`` on the others.
    """
    if jax.process_count() == 1:
        return np.asarray(call())
    error: Exception | None = None
    found = like
    if jax.process_index() == 0:
        try:
            found = np.asarray(call(), like.dtype)
        except Exception as raised:  # told to the others first: they wait
            error = raised
    failed = multihost_utils.broadcast_one_to_all(np.asarray(error is not None))
    if error is not None:
        raise error
    if failed:
        raise ValueError("processes: the first one failed; its message says why")
    return np.asarray(multihost_utils.broadcast_one_to_all(found))
