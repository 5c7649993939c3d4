"""The interface to django-q2: wake-ups, clusters, the sweep's Schedule."""
