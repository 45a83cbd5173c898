"""Checkpoints: the state of a thread after each step, in LangGraph's own tables.

saver         reads checkpoints, and turns them into rows for the batch writer
run_saver     the saver of one run, which writes only while the run's claim is valid
batch_writer  writes the checkpoints of all runs: the INSERT statements
"""
