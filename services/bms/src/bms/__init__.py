"""BMS, business management: customers, plans, contracts and quotas; usage, rated; invoices.

It answers the SMS's quota questions and takes the SMS's usage events. Each usage record has at most one
effect, an invoice never changes once it is made. It never decides about services, and never asks anybody.
"""
