"""Searches of sleeping fits, ours beside others: what a scheduler costs when a fit costs nothing.

``sides`` runs one search in a process of its own and needs of ours only what its side needs, ``pods`` measures on the two-node
cluster, ``page`` puts together what was measured (pure), ``__main__`` is the command.
"""
