"""How alike two shapes are: the measures of the field, each by the convention of the paper that it is compared with.

Works on: occupancies on a lattice, and points sampled from surfaces. Knows nothing about pictures, networks or files.

Conventions differ by factors of ten between papers that use one name, so each function says its formula, its unit and
its source:

- Mescheder et al., "Occupancy Networks" (CVPR 2019), section 4 and `im2mesh/eval.py` of
  github.com/autonomousvision/occupancy_networks;
- Chen & Zhang, "Learning Implicit Fields" (IM-NET, CVPR 2019); its authors' evaluation is published as
  `evaluation/eval_bspnet_pc.py` of github.com/czq142857/BSP-NET-original;
- Tatarchenko et al., "What Do Single-view 3D Reconstruction Networks Learn?" (CVPR 2019), section 5, and `util.py` of
  github.com/lmb-freiburg/what3d.
"""

from dataclasses import dataclass

import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

POINTS = 100_000  # sampled from each surface, as Mescheder et al. do
FEW_POINTS = 4096  # of them for `chamfer_l2`, as Chen & Zhang do
_LEAF = 32  # points of a tree's leaf: measured, a third faster than SciPy's 10 for surfaces that are far apart
_SHARE = 0.01  # of the side of the bounding cube: the threshold of `f_score`


def iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Volumetric intersection over union |A ∩ B| / |A ∪ B|, 0 to 1, of occupancies bool[...] at the same samples.

    Over all samples of a lattice, not over points near the surface. Two that are empty are alike: 1. Mescheder et al.
    estimate the same at 100,000 uniform random points; Chen & Zhang, and 3D-R2N2 before, take it over voxels.
    """
    if first.shape != second.shape:
        raise ValueError(f"occupancies {first.shape} and {second.shape} are of different lattices")
    either = np.count_nonzero(first | second)
    return float(np.count_nonzero(first & second) / either) if either else 1.0


@dataclass(frozen=True)
class Surface:
    """Points float64[P, 3] drawn uniformly by area from a surface, in random order, and its unit normals there."""

    points: NDArray[np.float64]
    normals: NDArray[np.float64]


def sample(vertices: NDArray, faces: NDArray, count: int, seed: int) -> Surface:
    """`count` points of the triangles `faces` int[F, 3] of `vertices` float[V, 3], with their faces' normals.

    Raises ValueError for a surface without area.
    """
    solid = trimesh.Trimesh(vertices, faces, process=False)
    if not solid.area > 0:
        raise ValueError("the surface has no area, so there is nothing to sample")
    points, face = trimesh.sample.sample_surface(solid, count, seed=seed)
    return Surface(np.asarray(points, np.float64), np.asarray(solid.face_normals[face], np.float64))


@dataclass(frozen=True)
class Distances:
    """From each point to the nearest one of the other surface, Euclidean, in the unit of the points.

    `accuracy` float64[P] are those of the predicted points, `completeness` float64[Q] those of the true ones;
    `accuracy_cosines` and `completeness_cosines`, of the same sizes, |n · n′| of the normals of both.
    """

    accuracy: NDArray[np.float64]
    completeness: NDArray[np.float64]
    accuracy_cosines: NDArray[np.float64]
    completeness_cosines: NDArray[np.float64]


def compare(predicted: Surface, truth: Surface) -> Distances:
    """Nearest neighbours both ways."""
    trees = cKDTree(predicted.points, _LEAF), cKDTree(truth.points, _LEAF)
    accuracy, accuracy_cosines = _nearest(predicted, trees[0], truth, trees[1])
    completeness, completeness_cosines = _nearest(truth, trees[1], predicted, trees[0])
    return Distances(accuracy, completeness, accuracy_cosines, completeness_cosines)


def few(surface: Surface) -> Surface:
    """As many of its points as `chamfer_l2` is defined for."""
    return Surface(surface.points[:FEW_POINTS], surface.normals[:FEW_POINTS])


def chamfer_l1(distances: Distances, longest: float) -> float:
    """Chamfer-L1 of Mescheder et al.: (mean accuracy + mean completeness) / 2, of distances that are not squared.

    Its unit is a tenth of `longest`, the longest edge of the true shape's bounding box. The larger, the worse. Points
    are never quite where the others are: with 100,000 a shape against itself gives about 0.01 to 0.02.
    """
    return float((distances.accuracy.mean() + distances.completeness.mean()) / 2 / (longest / 10))


def chamfer_l2(distances: Distances) -> float:
    """Chamfer distance of Chen & Zhang: mean squared accuracy + mean squared completeness, times 1000.

    The sum of both ways, not their mean, between 4096 points of each surface (`few`), in the unit of the frame: shapes
    whose bounding box has diagonal 1.
    """
    return float(((distances.accuracy**2).mean() + (distances.completeness**2).mean()) * 1000)


def f_score(distances: Distances, side: float) -> float:
    """F-score at 1 %, of Tatarchenko et al.: 2·P·R / (P + R), 0 to 1, 0 where nothing is near.

    P and R are the shares of predicted and of true points less than 1 % of `side` from the other surface; `side` is
    that of the cube that the true shape fits in.
    """
    precision = float((distances.accuracy < _SHARE * side).mean())
    recall = float((distances.completeness < _SHARE * side).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def normal_consistency(distances: Distances) -> float:
    """Of Mescheder et al.: the mean |n · n′| of a point's normal and its nearest neighbour's, both ways averaged; 0 to
    1. Unoriented, as theirs."""
    return float((distances.accuracy_cosines.mean() + distances.completeness_cosines.mean()) / 2)


def pieces(vertices: NDArray, faces: NDArray) -> int:
    """How many bodies a closed mesh, `faces` int[F, 3] turned outwards, consists of; one is whole.

    Connected surfaces that enclose a positive volume, so that the wall of a hole inside a body is none.
    """
    if not len(faces):
        return 0
    ends = faces[:, :2].ravel(), faces[:, 1:].ravel()
    joined = coo_array((np.ones(len(ends[0]), bool), ends), (len(vertices), len(vertices)))
    _, piece = connected_components(joined, directed=False)
    a, b, c = (np.asarray(vertices, np.float64)[faces[:, corner]] for corner in range(3))
    volumes = np.bincount(piece[faces[:, 0]], (a * np.cross(b, c)).sum(axis=1))
    return int(np.count_nonzero(volumes > 0))


def _nearest(
    points: Surface, tree: cKDTree, others: Surface, other_tree: cKDTree
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    order = tree.indices  # neighbours one after the other, so that the other tree's nodes stay cached: measured, 1.8×
    distance, place = other_tree.query(points.points[order])
    return distance, np.abs((points.normals[order] * others.normals[place]).sum(axis=1))
