"""An hour of searches of all kinds while everything around them is killed, cut off, filled, edited and deleted.

``plan`` says in which order, from a seed, and ``checks`` what must hold of what was seen (both pure). ``kinds`` has the searches,
``truth`` what they must come to, ``counted`` an estimator that tells of each fit, ``ledger`` who hears it. ``stage`` is the
cluster with all that the searches stand on, ``hands`` does what the plan says, ``__main__`` is the command.
"""
