"""From kept figures to the page and the plot of the documentation."""
