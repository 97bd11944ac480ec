"""Sources and sinks: files, microphones, speakers, cameras. Each device library is imported in its own file only."""
