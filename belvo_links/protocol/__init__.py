"""Belvo's Links API without IO: what to send, what a reply means, which state follows which event."""
