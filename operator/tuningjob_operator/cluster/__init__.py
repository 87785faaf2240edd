"""The cluster as the operator knows it: the API client, a cache of the objects that it watches, and how they are read."""
