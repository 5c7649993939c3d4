"""django-q2, and all that this package knows of it: wake-ups, clusters, the sweep's Schedule."""
