"""A run's report as one page: a single file that needs no network, no server and no other file."""
