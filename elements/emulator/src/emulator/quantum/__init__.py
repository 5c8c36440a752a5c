"""What makes an element a quantum node: its factory configuration, what it refuses, and its state.

It translates between trees of `bellweave-quantum-node` and the world, and knows no protocol.
"""
