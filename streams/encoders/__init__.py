"""Encoders: synchronous objects that turn media packets into percepts. One file each."""
