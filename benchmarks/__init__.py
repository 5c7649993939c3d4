"""Speed, as ratios to peers measured side by side in one run; see README.md."""
