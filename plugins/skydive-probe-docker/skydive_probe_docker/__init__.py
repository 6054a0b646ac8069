"""Docker's containers and their network namespaces as a Skycore agent probe."""

from skydive_probe_docker.probe import DockerProbe, NetnsSettings

__all__ = ["DockerProbe", "NetnsSettings"]
