"""Policies that give actions by the chunk: run, stitched together in time, and bridged over when they are late."""
