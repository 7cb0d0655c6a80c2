"""From a described call to a reply: pure policies and one adapter for aiohttp's client."""
