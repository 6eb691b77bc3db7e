"""The only meaning that services share: the envelope, the message types and the topology, all as data."""
