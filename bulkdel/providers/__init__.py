"""The services bulkdel can talk to."""
