"""The simulator's page and control endpoints; loaded only where a key for them is given."""
