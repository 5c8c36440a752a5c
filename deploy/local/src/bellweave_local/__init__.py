"""Runs the whole stack on one machine: embedded servers, a small OIDC issuer, the services, and the demo.

It starts real programs and tells each of them where the others are; it decides nothing about networks, orders
or money, imports no service, and speaks to them only through their public doors. Tests use its embedded
servers too.
"""
