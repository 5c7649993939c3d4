"""Plain values: checked, named, encoded and put into words. No database, no settings."""
