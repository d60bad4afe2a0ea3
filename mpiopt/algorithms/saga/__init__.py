"""Distributed SAGA. Begin with `saga.py`: a round is local steps, exchange, refresh and accept, in this order."""
