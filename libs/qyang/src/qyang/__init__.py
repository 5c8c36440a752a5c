"""YANG data for any set of modules: schema, instance trees, canonical values, edits, filters, validation.

An element that serves YANG data and a manager that mirrors them stand on it. It knows no transport and no
session, keeps nothing, and never asks what the data mean.
"""
