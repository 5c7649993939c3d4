"""The drawn pictures of the explanations."""
