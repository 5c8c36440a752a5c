"""The one physics under all elements of a process: fibres, lasers, links and what their ends release.

It knows topologies and circuits, no protocol and no YANG. Elements tell it what they are configured to do
and ask it how that goes; time is the domain clock's and passed in.
"""
