"""A network whole, as its publisher has it, with some weights.

Knows architectures and state dicts; neither stages nor features.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from regraft.backbones.architectures import build_initialised, build_on_meta
from regraft.backbones.checkpoints import fit_to_architecture
from regraft.backbones.memory import require_room_for_weights
from regraft.backbones.spec import BackboneSpec


def build_network(spec: BackboneSpec, weights: Mapping[str, Tensor] | None) -> nn.Module:
    """The original network on the CPU with some weights; None for zeros.

    On the meta device first: initialising what is overwritten anyway takes up to 3 s.
    """
    model = build_on_meta(spec)
    require_room_for_weights(model, spec.name)
    own = model.state_dict()
    if weights is None:
        usable = {key: torch.zeros_like(tensor, device="cpu") for key, tensor in own.items()}
    else:
        state = fit_to_architecture(
            weights, model, optional=spec.classifier, origin=f"the state for {spec.name}"
        )
        # A classifier of another size is not used: it stays on the meta device, and no stage holds it.
        fitting = [key for key, tensor in state.items() if key in own and tensor.shape == own[key].shape]
        usable = {key: state[key].clone() for key in fitting}
    own.clear()  # not a plain dict: MNASNet asks for the version that a network's own state carries
    own.update(usable)
    if _has_derived_buffers(model):
        model = build_initialised(spec, seed=0)
        model.load_state_dict(own, strict=False)
    else:
        model.load_state_dict(own, strict=False, assign=True)
    return model


def _has_derived_buffers(model: nn.Module) -> bool:
    """Whether it has buffers that are computed when it is built and that no state dict holds."""
    return not {name for name, _ in model.named_buffers()} <= model.state_dict().keys()
