"""What papers report for the same task on other data, to be shown beside, never as a comparison.

Works on: nothing. Every figure names its source. One that could not be checked is not here, which is why IM-NET's table
for single views is missing.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One row of a table: `values` by category, in the convention of our measure of that name (`measure`)."""

    method: str
    measure: str
    values: dict[str, float]
    data: str
    source: str


_SHAPENET = (
    "ShapeNet, 13 categories in one network, 3D-R2N2's renderings and split, one view of each test object; occupancy "
    "of the watertight mesh at 100,000 uniform points"
)

PUBLISHED = (
    Published(
        "Occupancy Networks, retrained by the authors",
        "iou",
        {"airplane": 0.591, "car": 0.746, "chair": 0.530, "table": 0.542},
        _SHAPENET,
        "Mescheder et al., updated table in the README of github.com/autonomousvision/occupancy_networks",
    ),
    Published(
        "Occupancy Networks",
        "chamfer_l1",
        {"chair": 0.228},
        _SHAPENET,
        "Mescheder et al., CVPR 2019, table 1; its unit is explained in issue 61 of the same repository",
    ),
)
