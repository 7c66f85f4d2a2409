"""The store of jobs: SQLite on a local disk, one writer and any number of readers."""
