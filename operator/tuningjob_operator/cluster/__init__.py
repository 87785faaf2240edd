"""What the cluster is to the operator: the API client, the cache of what it watches, and how they are read."""
