"""The libraries that reach sound devices, one per file, behind `streams.devices.sound.SoundBackend`."""
