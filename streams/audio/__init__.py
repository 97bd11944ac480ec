"""Plain signal processing on NumPy arrays: blocks, features. No devices, no models, no asyncio."""
