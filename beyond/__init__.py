"""What a student sees, hears and is corrected by, where that is not what section 3 of the paper says.

Made of the core's functions: `settings` (all flags and the recipes), `data` (with a stand-in for MNIST),
`images`, `answers` and `probes`, `pipeline` (from data to an experiment) and `command`, the one command line.
"""
