"""Models on disk and in memory: checked before loading, named by their digest, their weights and adapters."""
