"""The plumbing of every service: settings, database, bus, events, reconcile loop, HTTP, identity, telemetry.

Services import it; it imports no service and knows no domain word beyond the names of its peers in `wiring`.
It never decides anything about quantum networks.
"""
