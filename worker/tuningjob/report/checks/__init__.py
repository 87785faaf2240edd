"""What can be seen in the results of a search: each check a pure function, each piece of advice with its reason."""
