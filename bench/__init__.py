"""Benchmarks of the whole and its parts, each against a floor measured in the same run."""
