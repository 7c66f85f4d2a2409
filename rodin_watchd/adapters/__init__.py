"""The outside world, one thing for each module; none imports another."""
