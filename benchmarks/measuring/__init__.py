"""Set up, start, watch and verify: what every measurement needs, whatever it measures."""
