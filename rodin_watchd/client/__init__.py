"""What the command line and the page in the browser share: reading the store, what they show of it as data, and leaving commands in it."""
