"""Cut work over devices, processes and threads, so that the numbers do not depend on how many there are.

Rows are cut (prompts, rows to be scored, chunks of replicates), each with the random keys of its global number. Every
device runs the program that one device would run on its rows, and sums are taken of gathered parts in their order.
``SingleDevice`` calls a function as it is. ``DeviceMesh`` uses ``jax.shard_map`` and may span the processes of
``jax.distributed``, where every process runs the same program and gets all results.
"""

from __future__ import annotations

import contextvars
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, Protocol, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

DeviceChoice = Literal["all"] | int | Sequence[jax.Device]
"""All devices, the first so many, or a list of them."""

_ROW = "row"
_SHARDED, _REPLICATED = PartitionSpec(_ROW), PartitionSpec()
_MAX_THREADS = 4  # each holds the coefficients of its batches
_MAX_PROGRAMS = 256  # of several devices; a training arm has about ten

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Devices(Protocol):
    """The devices that share the rows of some work."""

    @property
    def size(self) -> int:
        """The number of devices."""
        ...

    def at_most(self, units: int) -> Devices:
        """Return no more of them than there are units of work."""
        ...

    def over(self, function: Callable[..., PyTree], shared: tuple, rows: tuple) -> PyTree:
        """Return ``function(*shared, *rows)``, with each device given its part of the rows.

        ``rows`` have a leading axis that is a multiple of ``size``, and so have the results.
        """
        ...

    def gather(self, results: PyTree) -> PyTree:
        """Return arrays that hold all rows, on every process."""
        ...


class SingleDevice:
    """One device, the one where JAX puts arrays anyway."""

    size = 1

    def at_most(self, units: int) -> Devices:
        """Return this device, whatever the number of units."""
        return self

    def over(self, function: Callable[..., PyTree], shared: tuple, rows: tuple) -> PyTree:
        """Call ``function`` with all rows at once."""
        return function(*shared, *rows)

    def gather(self, results: PyTree) -> PyTree:
        """Return the results unchanged."""
        return results


SINGLE = SingleDevice()


class DeviceMesh:
    """Several devices, of this process or of all."""

    def __init__(self, devices: Sequence[jax.Device]) -> None:
        self._mesh = Mesh(np.asarray(devices), (_ROW,))

    @property
    def size(self) -> int:
        """The number of devices."""
        return int(self._mesh.devices.size)

    def at_most(self, units: int) -> Devices:
        """Return no more devices than units; across processes all take part, some without work."""
        if units >= self.size or jax.process_count() > 1:
            return self
        return choose_devices(list(self._mesh.devices.flat[: max(1, units)]))

    def over(self, function: Callable[..., PyTree], shared: tuple, rows: tuple) -> PyTree:
        """Call ``function`` on each device with its rows."""
        placed_function, placed_shared = self._place((function, shared), _REPLICATED)
        return _sharded_call(self._mesh, placed_function, placed_shared, self._place(rows, _SHARDED))

    def gather(self, results: PyTree) -> PyTree:
        """Copy the results into the memory of every process."""
        collect = functools.partial(multihost_utils.process_allgather, tiled=True)
        return jax.tree.map(lambda x: np.asarray(x) if _is_local(x) else collect(x), results)

    def _place(self, tree: PyTree, spec: PartitionSpec) -> PyTree:
        sharding = NamedSharding(self._mesh, spec)
        return jax.tree.map(lambda x: _placed(x, sharding) if eqx.is_array_like(x) else x, tree)


def _is_local(x: Any) -> bool:
    """Return True if this process holds all of an array."""
    return not isinstance(x, jax.Array) or x.is_fully_addressable


def _placed(x: Any, sharding: NamedSharding) -> Any:
    """Put an array on the mesh; every process holds all of ``x``, or it is on the mesh already."""
    if isinstance(x, bool | int | float | complex):  # static, as in a program for one device
        return x
    if isinstance(x, jax.Array) and (x.sharding == sharding or not _is_local(x)):
        return x
    if jax.process_count() == 1:
        return jax.device_put(x, sharding)
    if isinstance(x, jax.Array) and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
        data = _placed(jax.random.key_data(x), sharding)
        return jax.random.wrap_key_data(data, impl=str(jax.random.key_impl(x)))
    host = np.asarray(x)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


def _sharded_call(mesh: Mesh, function: Callable[..., PyTree], shared: tuple, rows: tuple) -> PyTree:
    """Call ``function`` on each device with its rows, by a program that is kept for the next call like it."""
    arrays, static = eqx.partition((function, shared, rows), eqx.is_array)
    leaves, structure = jax.tree.flatten(static)
    # numbers of two types may be equal, and make two programs
    return _sharded_program(mesh, tuple((type(leaf), leaf) for leaf in leaves), structure)(arrays)


@functools.lru_cache(maxsize=_MAX_PROGRAMS)
def _sharded_program(
    mesh: Mesh, leaves: tuple[tuple[type, Any], ...], structure: Any
) -> Callable[..., PyTree]:
    """The program for what is no array; those used last are kept (see ``core.program_cache``)."""
    static = jax.tree.unflatten(structure, [leaf for _, leaf in leaves])

    def local(*arrays: Any) -> PyTree:
        call, local_shared, local_rows = eqx.combine(arrays, static)
        return call(*local_shared, *local_rows)

    def _sharded_call(arrays: tuple) -> PyTree:
        specs = (_REPLICATED, _REPLICATED, _SHARDED)
        return jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=_SHARDED, check_vma=False)(*arrays)

    return jax.jit(_sharded_call)


def choose_devices(devices: DeviceChoice = "all") -> Devices:
    """The devices that do the work.

    Raises ``ValueError`` for devices that do not exist, or that are not of all processes.
    """
    visible = list(jax.devices())
    if isinstance(devices, str):
        if devices != "all":
            raise ValueError(
                f"devices: '{devices}'; give 'all', a number, or a list such as jax.devices()[:2]"
            )
        default = getattr(jax.config, "jax_default_device", None)  # a default device is a choice as well
        chosen = visible if default is None else [default]
    elif isinstance(devices, int | np.integer):
        if not 1 <= devices <= len(visible):
            raise ValueError(
                f"devices: {devices}, and JAX sees {len(visible)}; give 1 to {len(visible)}, or 'all'"
            )
        chosen = list(visible[:devices])
    else:
        chosen = list(devices)
        if not chosen:
            raise ValueError("devices: the list is empty; give one at least, or 'all'")
    if len({d.process_index for d in chosen}) < jax.process_count():
        raise ValueError(
            f"devices: {len(chosen)} that are not of all {jax.process_count()} processes; give devices='all'"
        )
    if len(chosen) == 1 and (chosen[0] == visible[0] or devices == "all"):
        return SINGLE
    return DeviceMesh(chosen)


def padded(rows: PyTree, multiple: int) -> PyTree:
    """Fill rows up to a multiple with copies of the last one."""
    size = len(jax.tree.leaves(rows)[0])
    row_index = np.minimum(np.arange(-(-size // multiple) * multiple), size - 1)
    return rows if len(row_index) == size else jax.tree.map(lambda x: x[row_index], rows)


def from_first_process(call: Callable[[], Array | np.ndarray], like: np.ndarray) -> np.ndarray:
    """Call a function on the first process only, and give its result to all.

    For results that differ from one call to the next, such as those of a verifier with a time limit, or of a disk.
    ``like`` has the result's shape and dtype. An error there is a ``ValueError`` on the other processes.
    """
    if jax.process_count() == 1:
        return np.asarray(call())
    error: Exception | None = None
    result = like
    if jax.process_index() == 0:
        try:
            result = np.asarray(call(), like.dtype)
        except Exception as raised:  # the others wait for the broadcast: send it before raising
            error = raised
    failed = multihost_utils.broadcast_one_to_all(np.asarray(error is not None))
    if error is not None:
        raise error
    if failed:
        raise ValueError("processes: the first one failed; its message says why")
    return np.asarray(multihost_utils.broadcast_one_to_all(result))


def map_threads(call: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
    """Return ``[call(x) for x in items]``, computed in a few threads.

    Compiling takes one core, and so does most of what NumPy does. The first error, in the items' order, is raised.
    """
    return list(imap_threads(call, items))


def imap_threads(call: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
    """Yield the results of ``map_threads`` as soon as they are there; once closed, no further item is begun."""
    double = jnp.result_type(float) == jnp.float64  # the precision may be set for this thread only

    def run(item: _Item) -> _Result:
        with jax.enable_x64(double):
            return call(item)

    work = list(items)
    size = min(len(work), os.cpu_count() or 1, _MAX_THREADS)
    if size < 2:
        yield from map(call, work)
        return
    with ThreadPoolExecutor(size) as threads:
        # each in a copy of the caller's context: it reports to the caller's progress bar
        futures = [threads.submit(contextvars.copy_context().run, run, item) for item in work]
        try:
            for future in futures:
                yield future.result()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
