"""What the SMS does, one file per noun's life. They talk to the world through `ports` only."""
