"""One file a system: a frozen dataclass that reads like its paper."""
