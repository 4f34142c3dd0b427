"""The command: words, keys, confirmation, progress, exit status; everything that a person types, sees or scripts."""

from bulkdel.cli.main import main, run

__all__ = ["main", "run"]
