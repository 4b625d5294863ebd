"""keopscore.utils."""
