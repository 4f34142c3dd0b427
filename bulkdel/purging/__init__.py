"""One knowledge base after another: preflight, list, select, guard, delete, and list again."""
