"""Planted bugs: hand-made patches as data, and a command that shows which tests catch each; `python -m tests.mutants`."""
