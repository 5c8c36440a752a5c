"""What an EMS does: take in devices, carry out commits on them, observe them."""
