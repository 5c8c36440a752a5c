"""The `bellweave` command: a client of the services' public APIs, and nothing more.

It knows no database and no bus; what it cannot ask at a door it does not know.
"""
