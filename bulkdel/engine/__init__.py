"""Targets in, settled out: bounded workers, due retries, exactly one ending each."""
