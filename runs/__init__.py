"""Many runs of an experiment: on this machine or on a Dask cluster, recorded, found again, read back."""
