"""Fixtures that more than one test file shares."""
