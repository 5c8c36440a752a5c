"""The story that `make demo` tells on a running stack, from a tenant's order to the invoice.

It does nothing that a user could not do: it calls the public APIs with tokens of the local issuer, and cuts
a fibre by the emulator's own command. Every step checks what it shows; the first that is not so ends the
story with its name.
"""
