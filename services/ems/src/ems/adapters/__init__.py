"""Device drivers: one package per protocol. Each implements `ems.ports.DeviceAdapter`; nothing else in the
EMS knows a device's protocol. A driver is steered by probed traits, never by a product's name.
"""
