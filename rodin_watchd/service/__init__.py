"""The daemon: steps with one effect each, and the loop that decides, commits and hands them out."""
