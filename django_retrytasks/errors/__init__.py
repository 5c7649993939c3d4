"""An exception as text: its report, its origin, and the fingerprint of its cause."""
