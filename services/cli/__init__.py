"""The command line: composes all services on one machine, and talks to running ones over HTTP.

Consumes the worker's job API. Produces signed webhooks through the sandbox. Owns the state folder of
`shopbus run`: its secrets and its lock.
"""
