"""``python -m gradvar`` and ``gradvar``; an interrupt is one line and 130 also while the commands are imported."""

import atexit
import contextlib
import os
import sys
from typing import NoReturn


def main() -> None:
    """Run the command line and exit."""
    try:
        from gradvar.cli.main import main as run

        run()
    except KeyboardInterrupt:
        _interrupted()
    except SystemExit as stop:
        if stop.code == 130:
            _leave()
        raise


def _interrupted() -> NoReturn:
    """Say so, and leave."""
    print("gradvar: interrupted", file=sys.stderr)
    _leave()


def _leave() -> NoReturn:
    """Exit with 130. Python would end itself by the signal where that came inside of ``exec``, as in a dataclass."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # nobody reads any more
            stream.flush()
    os._exit(130)


if __name__ == "__main__":
    main()
