"""Checks of the results of a search: each check is a pure function, each piece of advice has its reason."""
