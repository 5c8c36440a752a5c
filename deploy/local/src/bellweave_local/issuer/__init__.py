"""A small real OIDC issuer for one machine: discovery, keys, and tokens for a handful of local users.

The supervisor runs it as a process of its own when no BELLWEAVE_OIDC_ISSUER is given. Services know it only
by its URL, as they would know an operator's own issuer. It has no login page, no refresh tokens and no client
secrets; it is not meant to be reached from another machine.
"""
