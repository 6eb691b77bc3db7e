"""Servers that belong to the tests alone: they may be killed, frozen and wiped, and they end with the test run."""
