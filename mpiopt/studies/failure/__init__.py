"""What does relaxed consistency between workers and parameter servers buy when servers die?

The study of R. Cao, S. Luo, G. Gan, J. Jinesh, "Training Through Failure" (Stanford CS244B, 2024), corrected: a new
server always restores, queues take a gradient in O(1), and one worker or several. A cell is one run of one
configuration; `mode` says whether in virtual time in one process, or between real ranks that really die.
"""
