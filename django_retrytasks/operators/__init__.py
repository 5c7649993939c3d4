"""Operators' work on Tasks: selections, verbs, operations."""
