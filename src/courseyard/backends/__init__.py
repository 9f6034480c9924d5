"""Backends: run a plan."""
