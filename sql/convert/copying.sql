SET LOCAL pupctl.maintenance = on; SET LOCAL synchronous_commit = off; SET LOCAL jit = off
