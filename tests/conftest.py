"""Hypothesis as this suite runs it: the same examples every time, no deadline, because a busy machine is no bug."""

from hypothesis import HealthCheck, settings

settings.register_profile("eventlake", max_examples=50, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("eventlake")
