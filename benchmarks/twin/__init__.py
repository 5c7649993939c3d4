"""The yardstick's twin: what the bare idea of this package costs, by the plain ORM and django-q2.

It claims many rows, runs them, and settles them together, with a kept row for each attempt. It
extends no lease, sends no signal, groups no failures, times nothing out and has no policies.
What the package takes beyond this is the price of what it does beyond this.
"""
