"""The command line; heavy modules are imported by the command that needs them."""
