"""Settings for every test: hypothesis tries the same examples on every run, and no slow machine fails a deadline."""

from hypothesis import settings

settings.register_profile("bivit", deadline=None, derandomize=True, database=None)
settings.load_profile("bivit")
