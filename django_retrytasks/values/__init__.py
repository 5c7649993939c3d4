"""Plain values: checks, names, encoding and words. No database, no settings."""
