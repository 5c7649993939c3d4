"""The story that demo.py tells: a mail server fails in three ways, and one letter is given up."""
