"""The robot contract, version 1: messages, schemas, and the guards that stand between a message and a motor.

Everything here is pure: no socket, no clock, no thread, no randomness. Times are integer nanoseconds of one monotonic
clock that the caller reads; bytes come in, decisions go out. `docs/robot-contract.md` is the contract in words.
"""
