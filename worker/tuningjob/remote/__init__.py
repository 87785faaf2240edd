"""The results service over HTTP: a worker's way to its search, a person's way to the audit, and who a person is to it."""
