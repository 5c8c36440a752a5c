"""How an NMS reaches other services."""
