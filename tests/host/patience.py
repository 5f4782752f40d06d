"""Settings of hypothesis under which a pause of the machine is no verdict."""

from hypothesis import HealthCheck, settings

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
