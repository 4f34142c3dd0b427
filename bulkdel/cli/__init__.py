"""The command: words, keys, confirmation, progress, exit status; everything that a person types, sees or scripts."""

from bulkdel.cli.app import main, run

__all__ = ["main", "run"]
