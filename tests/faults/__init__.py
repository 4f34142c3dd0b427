"""Faults injected through the real seams: each promise is checked, and each check fails if a part breaks the promise."""
