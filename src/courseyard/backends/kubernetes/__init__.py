"""A cluster: plans become pods, made by KubeSpawner."""
