"""The shared language of Bellweave: units, topology, physics, security policy, errors and contracts.

Everything here is pure: no sockets, no files, no clock, no randomness. Every service, the emulator and
the command line import it; it imports none of them.
"""
