"""Rules of an NMS: where links run, what they take, what nodes must do for them, whom a fault hits.

Pure: no I/O, no clock, no randomness. rustworkx is used here, since a graph algorithm is arithmetic.
"""
