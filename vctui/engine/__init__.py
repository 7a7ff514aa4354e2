"""The lifecycle engine: the virtcontainers 1.0 API over real virtual machines."""
