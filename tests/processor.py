"""Child processes whose time is bounded by what they do, and not by what else the machine is doing."""

import subprocess

HANGS = 7200  # seconds after which a process that waits for something will wait for ever


def run_within(seconds, command, **settings):
    """Run a command, whose processes may each take so many seconds of processor; its text output is kept.

    A shell sets the limit: Python code between fork and exec makes JAX warn of a deadlock.
    """
    limited = ["sh", "-c", f'ulimit -S -t {seconds}; exec "$@"', "sh", *map(str, command)]
    settings = {"capture_output": True, "text": True, "check": False, "timeout": HANGS} | settings
    return subprocess.run(limited, **settings)
