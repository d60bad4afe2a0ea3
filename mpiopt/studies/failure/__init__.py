"""The study `failure`: what does relaxed consistency between workers and parameter servers gain when servers die?

The study of R. Cao, S. Luo, G. Gan, J. Jinesh, "Training Through Failure" (Stanford CS244B, 2024), corrected: a new
server always restores, queues take a gradient in O(1), and there may be several workers. A cell is one run of one
configuration; `mode` chooses between virtual time in one process and real ranks that really die.
"""
