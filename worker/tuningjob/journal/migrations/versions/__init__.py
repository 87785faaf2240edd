"""One file a revision. Frozen: a database that exists has been through it."""
