"""bulkdel: empty whole knowledge bases, completely, as fast as the service allows, and account for every document."""
