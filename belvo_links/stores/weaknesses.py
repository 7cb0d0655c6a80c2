"""What lets a Redis lose a write that it has acknowledged."""

from __future__ import annotations

from collections.abc import Mapping


def weaknesses(settings: Mapping[str, str]) -> list[str]:
    """Return what of a server's settings lets it lose an acknowledged write, in words.

    Args:
        settings: what ``CONFIG GET`` says; what is not in it is not judged.
    """
    found = []
    if settings.get("appendonly", "yes") != "yes":
        found.append(f"appendonly is {settings['appendonly']}")
    elif settings.get("appendfsync", "always") != "always":
        found.append(f"appendfsync is {settings['appendfsync']}")
    if settings.get("maxmemory", "0") != "0" and settings.get("maxmemory-policy", "noeviction") != "noeviction":
        found.append(f"maxmemory-policy is {settings['maxmemory-policy']}")
    return found
