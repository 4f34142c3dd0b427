"""Tests of the providers: what they ask, and what an answer means."""
