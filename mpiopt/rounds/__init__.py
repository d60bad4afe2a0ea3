"""Rounds of distributed SAGA for ranks of unlike speed: `timed` (all exchange at the same time), `asynchronous`."""
