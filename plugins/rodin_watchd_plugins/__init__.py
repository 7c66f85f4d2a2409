"""The plugins that come with rodin_watchd. Each is a module of its own on public hooks; each is off until it has a table."""
