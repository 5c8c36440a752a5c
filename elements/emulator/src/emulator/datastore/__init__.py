"""The datastores of one element: what of them is durable, who locks them, how a commit is undone.

It knows neither a transport nor what the data mean: `emulator.netconf` speaks for it, `emulator.quantum`
gives it operational state and checks that no YANG can express.
"""
