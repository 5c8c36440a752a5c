"""The EMS's own terms: what a device is, what it runs, what was seen of it. Pure: no I/O."""
