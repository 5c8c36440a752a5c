"""Emulated quantum network elements: real NETCONF servers over one physics.

`datastore` is an engine for any set of YANG modules, `netconf` the protocol in front of it, `world` the one
physics that all elements of a process share, `quantum` what makes an element a quantum node of that world,
`network` puts them together. Nothing here knows a service of the management stack.
"""
