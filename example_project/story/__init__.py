"""The machinery of demo.py: a virtual environment, a mail server, a screen and two stories."""
