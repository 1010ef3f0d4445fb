"""``python -m gradvar`` is ``gradvar``."""

from gradvar.cli import main

main()
