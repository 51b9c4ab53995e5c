"""Tests of chaperone.store, on real databases."""
