"""How answers look to a person: tables with units, sober. Knows the APIs' shapes, calls nothing."""
