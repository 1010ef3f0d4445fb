"""``python -m gradvar`` is ``gradvar``."""

from gradvar.cli.main import main

main()
