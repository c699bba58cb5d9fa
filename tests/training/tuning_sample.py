"""How the tests fine-tune where nothing else is said: two stages for two epochs, nothing random, nothing searched."""

from regraft.backbones.stage_choice import LastStages
from regraft.training.fine_tune import FineTuneSettings
from regraft.training.optimiser import OptimiserSettings
from regraft.training.unfreeze_search import SearchSettings

OPTIMISER = OptimiserSettings(
    learning_rate=3e-4, layer_decay=0.8, weight_decay=0.01, warmup_fraction=0.1, max_gradient_norm=5.0
)
SETTINGS = FineTuneSettings(
    start="probe",
    unfreeze=LastStages(2),
    search=SearchSettings(rounds=2, min_updates=1, take="one", noise=1.0),
    batch_norm="frozen",
    depthwise="trained",
    optimiser=OPTIMISER,
    max_epochs=2,
    patience=100,
    selection_metric="log_loss",
    batch_size=8,
    micro_batch_size=4,
    label_smoothing=0.0,
    views="identity",
    views_per_image=None,
    averaging=0.0,
    interpolate="none",
    calibrate=False,
    seed=0,
)
