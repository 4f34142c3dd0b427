"""``python -m bulkdel``: the command."""

from bulkdel.cli import main

main()
