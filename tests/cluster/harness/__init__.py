"""A real two-node Kubernetes on one Debian machine, for the tests and for trying things by hand.

Nothing here is simulated: upstream's own binaries run the control plane and both nodes, each in a network namespace of
its own on a private bridge. There is no default route in any of them, so a wrong address fails at once and nothing can
leave the machine.

By hand: ``python -m tests.cluster.harness deps|up|demo|down``. In tests: the fixtures of ``tests/cluster/conftest.py``.
"""
