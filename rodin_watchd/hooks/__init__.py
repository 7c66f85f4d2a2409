"""Hooks: what plugins may do (`hookspecs`), and the process in which they do it (`worker`)."""
