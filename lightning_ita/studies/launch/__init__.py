"""Where the cells of a plan run: launchers by name. A launcher is a file here and a line in `LAUNCHERS`."""

from lightning_ita.registry import Registry

LAUNCHERS = Registry(
    "launcher",
    {
        "local": "lightning_ita.studies.launch.local:Local",
        "ray": "lightning_ita.studies.launch.ray_cluster:RayCluster",
        "slurm": "lightning_ita.studies.launch.slurm:Slurm",
    },
    group="lightning_ita.launchers",
)
