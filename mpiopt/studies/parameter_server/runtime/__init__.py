"""Parameter servers, workers and stores that may die: each role is an actor, and there are two ways to run actors.

An actor is a generator that yields the operations it wants (`actor.py`): send a message, receive one, compute. So the
same protocol runs in one process in virtual time (`virtual.py`) and between ranks (`process.py`).
"""
