import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from sklearn.metrics.pairwise import rbf_kernel
from torch import nn

from regraft.heads.layers import AnyLayers, HeadLayers, KernelLayers, LinearLayers, MlpLayers


def test_linear_layers_map_features_to_outputs() -> None:
    layers = LinearLayers().build(7, 3)
    features = torch.randn(5, 7)
    assert [type(layer) for layer in layers] == [nn.Linear]
    assert torch.equal(layers(features), features @ layers[0].weight.T + layers[0].bias)


def test_mlp_layers_end_without_nonlinearity() -> None:
    layers = MlpLayers(kind="mlp", hidden_sizes=(11, 5), dropout=0.3).build(7, 3)
    assert [type(layer) for layer in layers] == [nn.Linear, nn.ReLU, nn.Dropout] * 2 + [nn.Linear]
    shapes = [(layer.in_features, layer.out_features) for layer in layers if isinstance(layer, nn.Linear)]
    assert shapes == [(7, 11), (11, 5), (5, 3)]
    assert [layer.p for layer in layers if isinstance(layer, nn.Dropout)] == [0.3, 0.3]
    assert layers(torch.randn(2, 7)).shape == (2, 3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "mlp", "hidden_sizes": ()},
        {"kind": "mlp", "hidden_sizes": (0,)},
        {"kind": "mlp", "dropout": 1.0},
        {"kind": "linear", "dropout": 0.1},
        {"kind": "kernel", "gamma": 0.0},
        {"kind": "kernel", "num_centres": 0},
        {"kind": "conv"},
    ],
)
def test_layers_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(HeadLayers).validate_python(wrong)


def test_kernel_layers_measure_nearness_to_centres_as_scikit_learn_does() -> None:
    kernel, linear = KernelLayers(kind="kernel", num_centres=4, gamma=0.7).build(6, 3)
    features, mean, scale, centres = torch.randn(5, 6), torch.randn(6), torch.rand(6) + 0.5, torch.randn(4, 6)
    kernel.load_state_dict({"mean": mean, "scale": scale, "centres": centres})
    expected = rbf_kernel(((features - mean) / scale).numpy(), centres.numpy(), gamma=0.7 / 6)
    torch.testing.assert_close(kernel(features), torch.from_numpy(expected), atol=1e-5, rtol=1e-5)
    assert not list(kernel.parameters())
    assert linear(kernel(features)).shape == (5, 3)


@pytest.mark.parametrize(
    "layers",
    [
        LinearLayers(),
        MlpLayers(kind="mlp", hidden_sizes=(4,), dropout=0.0),
        KernelLayers(kind="kernel", num_centres=9, gamma=0.5),
    ],
)
def test_layers_survive_json(layers: AnyLayers) -> None:
    assert TypeAdapter(HeadLayers).validate_json(layers.model_dump_json()) == layers
