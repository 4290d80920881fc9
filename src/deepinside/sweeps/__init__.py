"""Many runs from one command: which they are, where they run, and the record they leave in `results/sweeps/NAME/`."""
