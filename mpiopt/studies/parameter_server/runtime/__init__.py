"""Parameter servers, workers and stores that may die: roles as actors, and two ways to run them.

An actor is a generator that yields what it wants done (`actor.py`): send a message, wait for one, compute. So the
same protocol runs in one process in virtual time (`virtual.py`), and between ranks over mail (`process.py`).
"""
