"""An app of someone else's, which knows django.tasks and nothing of this project."""
