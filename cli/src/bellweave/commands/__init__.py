"""The commands, by what they are about. Each asks at doors and shows the answer."""
