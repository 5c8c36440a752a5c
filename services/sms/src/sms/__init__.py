"""Service management: tenants' orders, the services made from them, their links, and what they give.

Owns orders, services, end-to-end links and the decision of every network-wide commit. It asks the BMS for
quota and each operator's NMS for placement, and it tells the BMS what was used. It never knows a device, a
path inside an operator, or a price.
"""
