"""Small programs that delete N documents: ours, and what people write or use today; each prints one JSON line."""
