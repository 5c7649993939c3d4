"""Speed, as ratios against peers run side by side in one go; see README.md."""
