"""Element management of one vendor's or region's devices.

Owns its devices: their addresses and logins, what each should do, what each was seen to do, their alarms and
counters. Takes node configurations from one NMS and drives the devices by their own protocols. It never
decides where a link runs, and never tells anyone but its NMS and its operators.
"""
