"""Processes that compute for another one."""

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """In a process of a pool: end with the process that started it, however that one ends.

    A pool's process waits for its next job for ever, and hears nothing where the other one was killed.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _follow(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)  # the process's own thread waits, and no exception reaches it
