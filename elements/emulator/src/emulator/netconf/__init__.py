"""NETCONF over SSH (RFC 6241, 6242, 5277, 6022, 6470, 8526) in front of one element's datastores.

It knows no quantum word: operational state comes from providers, misbehaviour from `faults`.
"""
