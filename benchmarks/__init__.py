"""Measurements of rodin_watchd, each next to its floor: what a bare script needs for the same. See docs/performance.md."""
