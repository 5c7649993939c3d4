"""An exception as text: what it was, where it came from, and which cause it shares."""
