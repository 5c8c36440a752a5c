"""The network management service: one operator's topology, placements, network revisions and link alarms.

It owns where links run and how much of each resource they take, and it drives the network-wide commit over
its EMSs: for the SMS, or as root when it heals. It never speaks to a device, knows no tenant, and sees other
operators only as borders.
"""
