"""The operator's file, and what adapters need to read and check their sections."""
