"""A configuration engine for any set of YANG modules: schema, edits, filters, validation, datastores.

It knows neither a transport nor what the data mean: `emulator.netconf` speaks for it, `emulator.quantum`
gives it operational state and checks that no YANG can express.
"""
