"""What operators ask for: which Tasks, and a verb for all of them."""
