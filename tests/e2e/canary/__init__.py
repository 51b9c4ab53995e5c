"""Secrets planted all over a cluster, and the ways in which a client could bring one of them back."""
