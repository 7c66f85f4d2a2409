"""`rodin-watchd status --watch`: a live view of the service in a terminal."""
