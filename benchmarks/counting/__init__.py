"""A Django app that counts the statements and commits of the process it runs in."""
