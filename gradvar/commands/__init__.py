"""The commands, one file each: a typed configuration and ``run(config) -> exit code``."""
