"""The package under test comes from where under_test says."""
import under_test  # noqa: F401
