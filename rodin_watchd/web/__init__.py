"""The page in the browser: a process of its own, which reads the store and leaves commands in it; it never moves a job."""
