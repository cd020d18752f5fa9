"""Geometry, the graph of half-edges, and what a network over it can and cannot know."""

import networkx
import numpy as np
import pytest
import torch

from plait.errors import InputError
from plait.tasks.scenes.batches import Batch, half_edges
from plait.tasks.scenes.config import ScenesConfig
from plait.tasks.scenes.generator import generate_scenes
from plait.tasks.scenes.geometry import GEOMETRY, geometry
from plait.tasks.scenes.model import ScenesModel
from plait.tasks.scenes.scene import Scene, pairs_of

CPU = torch.device("cpu")
SCENES = generate_scenes(0, 3)
OPERATORS = ("gcn", "attention", "chebyshev", "diffusion", "dense")


def model(operator: str, **options) -> ScenesModel:
    config = ScenesConfig(operator=operator, hidden_size=16, **options)
    return ScenesModel(config, classes=5, predicates=8, features=3).double().eval()


def batch(*scenes: Scene) -> Batch:
    found = Batch.of(scenes, 8, CPU)
    doubled = {n: getattr(found, n).double() for n in ("objects", "geometry", "labels")}
    return Batch(classes=found.classes, pairs=found.pairs, graph=found.graph, sizes=found.sizes,
                 **doubled)  # fmt: skip


def permuted(scene: Scene, order) -> Scene:
    of = {name: getattr(scene, name)[order] for name in ("boxes", "classes", "scores", "features")}
    return Scene(scene.image, scene.size, tuple(np.array(scene.ids)[order]),
                 relations=np.empty((0, 3), int), **of)  # fmt: skip


def test_geometry_by_its_formulas():
    """Two boxes that overlap in part: 20 × 10 at (0, 0) and 10 × 40 at (15, 5), in 50 × 200."""
    boxes = np.array([[0.0, 0, 20, 10], [15, 5, 10, 40]])
    found = dict(zip(GEOMETRY, geometry(boxes, pairs_of(2), (50.0, 200.0))[0], strict=True))
    unit = (np.sqrt(200) + np.sqrt(400)) / 2
    assert found == pytest.approx({
        "dx": 10 / 100, "dy": 20 / 100, "distance": np.hypot(10, 20) / 100,
        "gap_x": -5 / unit, "gap_y": -5 / unit,
        "iou": 25 / 575, "inside": 25 / 200, "around": 25 / 400,
        "wider": np.log(0.5), "higher": np.log(4),
    }, abs=1e-15)  # fmt: skip


def test_geometry_does_not_change_with_the_scale():
    scene = SCENES.scenes[0]
    pairs = pairs_of(len(scene.ids))
    small = geometry(scene.boxes, pairs, scene.size)
    large = geometry(7.5 * scene.boxes, pairs, (7.5 * scene.size[0], 7.5 * scene.size[1]))
    np.testing.assert_allclose(large, small, rtol=0, atol=1e-12)


def test_half_edges_are_paths_between_all_objects():
    """The complete graph, every edge cut into i – (i, j) – (j, i) – j; scenes stay apart."""
    sizes = (3, 4)
    joined = np.concatenate([pairs_of(3), pairs_of(4) + 3], 1)
    graph = half_edges(torch.from_numpy(joined), 7)
    assert graph.asymmetric_edge is None
    expected = networkx.Graph()
    expected.add_nodes_from(range(graph.num_nodes))
    number = {tuple(pair): 7 + k for k, pair in enumerate(joined.T.tolist())}
    for begin, size in zip((0, 3), sizes, strict=True):
        for i, j in pairs_of(size).T + begin:
            networkx.add_path(expected, [i, number[i, j], number[j, i], j])
    found = networkx.Graph(graph.edge_index.T.tolist())
    assert networkx.utils.edges_equal(found.edges, expected.edges)
    assert len(list(networkx.connected_components(found))) == 2
    assert graph.num_edges == 2 * expected.number_of_edges()


@pytest.mark.parametrize("operator", OPERATORS)
def test_the_order_of_objects_does_not_matter(operator):
    net, scene = model(operator), SCENES.scenes[0]
    n = len(scene.ids)
    order = np.random.default_rng(0).permutation(n)
    place = np.full((n, n), -1)
    place[tuple(pairs_of(n))] = np.arange(n * (n - 1))
    subject, other = order[pairs_of(n)]
    expected = net(batch(scene))[place[subject, other]]
    torch.testing.assert_close(net(batch(permuted(scene, order))), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("operator", OPERATORS)
def test_scenes_of_a_batch_are_independent(operator):
    net = model(operator)
    together = net(batch(*SCENES.scenes))
    alone = torch.cat([net(batch(scene)) for scene in SCENES.scenes])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("operator", OPERATORS)
def test_messages_carry_a_third_object_and_without_them_nothing_does(operator):
    """Moving object 0 changes what is said of pairs of others, unless no messages pass."""
    net, scene = model(operator), SCENES.scenes[0]
    moved = scene.boxes.copy()
    moved[0, 0] += 20
    other = Scene(**{**vars(scene), "boxes": moved})
    apart = (pairs_of(len(scene.ids)) != 0).all(0)
    change = (net(batch(scene)) - net(batch(other)))[torch.from_numpy(apart)].abs().amax(1)
    assert (change.max() == 0) if operator == "dense" else (change.min() > 1e-9)


@pytest.mark.parametrize("operator", ["gcn", "attention", "diffusion"])
def test_the_gradient_is_right(operator):
    net = model(operator, layers=1)
    net.output.requires_grad_(True)
    found = batch(SCENES.scenes[1])
    weight = net.layers[0].bias
    value = weight.detach().clone()

    def loss(bias: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            weight.copy_(bias)
        return (net(found) * found.geometry[:, :8]).sum()

    (given,) = torch.autograd.grad(loss(value), weight)
    step = torch.zeros_like(value)
    step[3] = 1e-6
    with torch.no_grad():
        numeric = (loss(value + step) - loss(value - step)) / 2e-6
    assert numeric.item() == pytest.approx(given[3].item(), rel=1e-6, abs=1e-9)


def test_dense_has_as_many_parameters_as_gcn():
    assert len({sum(p.numel() for p in model(o).parameters()) for o in ("dense", "gcn")}) == 1


def test_the_network_begins_from_the_frequencies():
    net = model("gcn")
    torch.nn.init.zeros_(net.output[2].weight)
    torch.nn.init.zeros_(net.output[2].bias)
    frequency = torch.randn(5, 5, 8, dtype=torch.float64)
    found = batch(*SCENES.scenes)
    net.begin_from(frequency, found.objects)
    subject, other = found.classes[found.pairs]
    assert torch.equal(net(found), frequency[subject, other])
    assert torch.equal(net.spread[0], torch.tensor(1.0).double())  # the scores are all 1


def test_heads_must_divide():
    with pytest.raises(InputError, match="--heads 4 must divide --hidden-size 18"):
        ScenesConfig(operator="attention", hidden_size=18)
