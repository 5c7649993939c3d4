"""``manage.py retrytasks``, and the supervisor that it runs a cluster under."""
