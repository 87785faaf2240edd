"""Tests on a real Kubernetes cluster, and the harness that brings one up."""
