"""The pictures of one experiment, each a function from a finished experiment to a figure."""
