"""Rules and state machines of orders, services and links. Pure: time is passed in, nothing is sent."""
