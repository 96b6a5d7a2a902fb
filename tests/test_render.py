"""Pictures of meshes: what covers which pixel, where the camera stands, what is in front."""

import numpy as np
import pytest
import trimesh

from workers.render import Camera, render, vertex_normals


def test_a_sphere_covers_the_disc_that_perspective_says() -> None:
    ball = trimesh.creation.icosphere(subdivisions=4, radius=0.5)
    size, camera = 200, Camera(azimuth=10, elevation=20, distance=3, field_of_view=30)
    alpha = render(ball.vertices, ball.faces, camera, size)[..., 3] / 255
    # A sphere's outline is a cone of half-angle asin(r/d) around the axis.
    radius = np.tan(np.arcsin(0.5 / 3)) / np.tan(np.radians(15)) * size / 2
    assert abs(alpha.sum() / (np.pi * radius**2) - 1) < 0.01
    rows, columns = np.nonzero(alpha > 0.5)
    assert abs(rows.mean() - 99.5) < 0.5
    assert abs(columns.mean() - 99.5) < 0.5


def test_azimuth_0_sees_the_front_and_up_is_up() -> None:
    """A box with a coloured face on each side, seen from the six directions that the frame names."""
    box = trimesh.creation.box()
    colors = np.abs(box.face_normals) * np.where(box.face_normals.sum(axis=1, keepdims=True) > 0, 1.0, 0.5)
    views = {0: (2, -1), 90: (0, 1), 180: (2, 1), 270: (0, -1)}  # azimuth → axis and side of the face in view
    for azimuth, (axis, side) in views.items():
        image = render(box.vertices, box.faces, Camera(azimuth, 1, 4, 25), 64, colors=colors, ambient=1.0)
        center = image[32, 32, :3] / 255
        expected = np.eye(3)[axis] * (1.0 if side > 0 else 0.5)
        assert np.allclose(center, expected, atol=0.01), azimuth
    above = render(box.vertices, box.faces, Camera(0, 60, 4, 25), 64, colors=colors, ambient=1.0)
    top = above[:32, :, 1].max()
    assert top == 255, "the top face, +Y, is in the upper half of the picture"


def test_the_object_is_not_mirrored() -> None:
    """Seen from the front (−Z towards +Z), the object's +X side lies on the left of the picture."""
    left = trimesh.creation.box(
        extents=(0.2, 0.2, 0.2), transform=trimesh.transformations.translation_matrix([0.3, 0, 0])
    )
    alpha = render(left.vertices, left.faces, Camera(0, 0.1, 4, 25), 64)[..., 3]
    assert np.nonzero(alpha)[1].mean() < 32


def test_the_nearest_surface_wins() -> None:
    near = trimesh.creation.box(
        extents=(0.4, 0.4, 0.1), transform=trimesh.transformations.translation_matrix([0, 0, -0.4])
    )
    far = trimesh.creation.box(
        extents=(0.9, 0.9, 0.1), transform=trimesh.transformations.translation_matrix([0, 0, 0.4])
    )
    for parts in ((near, far), (far, near)):
        scene = trimesh.util.concatenate(parts)
        red_near = np.concatenate([np.tile([1.0, 0, 0] if part is near else [0, 0, 1.0], (12, 1)) for part in parts])
        image = render(scene.vertices, scene.faces, Camera(0, 1, 3, 30), 64, colors=red_near, ambient=1.0)
        assert image[32, 32, 0] == 255
        assert image[32, 32, 2] == 0
        assert image[19, 32, 2] == 255


def test_a_closed_mesh_has_no_pinholes() -> None:
    ball = trimesh.creation.icosphere(subdivisions=5, radius=0.5)
    alpha = render(ball.vertices, ball.faces, Camera(), 160, supersample=1)[..., 3]
    for row in alpha:
        covered = np.flatnonzero(row)
        if covered.size:
            assert (row[covered[0] : covered[-1] + 1] == 255).all()


def test_interpolated_normals_shade_a_coarse_ball_as_the_ball_itself() -> None:
    ball = trimesh.creation.icosphere(subdivisions=2, radius=0.5)
    camera, light = Camera(0, 1, 40, 2.5), (0.0, 0.0, -1.0)
    normals = vertex_normals(ball.vertices, ball.faces)
    assert np.allclose(normals / np.linalg.norm(normals, axis=1, keepdims=True), ball.vertices / 0.5, atol=0.03)

    def brightness(**options) -> np.ndarray:
        image = render(ball.vertices, ball.faces, camera, 64, light=light, ambient=0, supersample=1, **options)
        return image[32, 12:52, 0] / (0.82 * 255)

    x = (np.arange(12, 52) + 0.5 - 32) / 32 * np.tan(np.radians(1.25)) * 40 / 0.5  # seen from afar: x = sin(angle)
    expected = np.sqrt(1 - np.clip(x, -1, 1) ** 2)
    assert np.abs(brightness(normals=normals) - expected).max() < 0.04
    assert np.abs(brightness() - expected).max() > 0.08, "flat faces show"


@pytest.mark.parametrize("supersample", [1, 2])
def test_triangles_that_share_an_edge_leave_no_gap_and_no_overlap_where_it_lies_on_samples(supersample: int) -> None:
    """A fan whose edges run through the centres of samples, horizontally, vertically and along the diagonals."""
    rim = [(x, y, 0.0) for x, y in ((1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1))]
    vertices = np.array([(0.0, 0.0, 0.0), *rim]) * 0.3
    faces = np.array([(0, (n + 1) % 8 + 1, n + 1) for n in range(8)])
    image = render(vertices, faces, Camera(0, 1e-9, 3, 25), 65, ambient=1.0, supersample=supersample)
    alpha = image[..., 3]
    rows, columns = np.nonzero(alpha)
    inside = alpha[rows.min() + 1 : rows.max(), columns.min() + 1 : columns.max()]
    assert (inside == 255).all()
    assert inside.shape[0] == inside.shape[1] > 25
