"""The cases: what is measured, one file for each kind; ``catalogue.py`` lists them."""
