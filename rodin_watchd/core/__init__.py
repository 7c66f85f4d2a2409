"""The pure core: decisions as functions of values; no disk, no network, no clock, no threads."""
