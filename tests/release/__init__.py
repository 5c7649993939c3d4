"""The package as a site gets it: the wheel, the README, the files that releases are made with."""
