"""The stories that demo.py tells of a shop whose mail fails."""
