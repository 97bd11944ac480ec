"""Voices: text to samples with the time of every word."""
