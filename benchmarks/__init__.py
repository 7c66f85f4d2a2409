"""Measurements of rodin_watchd, each beside its floor: what a bare script needs for the same. See docs/performance.md."""
