"""A training small enough to be killed and resumed many times."""

import hashlib
import warnings
from pathlib import Path

import lightning.pytorch as L
import torch
from stream.toys import Toy

from pdekit.stream import Batch, Stream
from pdekit.train.batches_log import BatchesLog
from pdekit.train.checkpoint import Checkpoints, latest_checkpoint
from pdekit.train.data import StreamData


class Linear(L.LightningModule):
    """A linear map with noise on its input, so that torch's random state matters."""

    def __init__(self):
        super().__init__()
        self.map = torch.nn.Linear(8, 8)

    def training_step(self, batch: Batch, batch_idx: int):
        inputs = batch.samples["coefficient"]
        return (self.map(inputs + 0.1 * torch.randn_like(inputs)) - batch.samples["solution"]).square().mean()

    def validation_step(self, batch: Batch, batch_idx: int):
        error = (self.map(batch.samples["coefficient"]) - batch.samples["solution"]).square().mean()
        self.log("val_error", error, batch_size=len(batch))

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=1e-2)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def jitter(first: int) -> float:
    return (first * 7919 % 5) * 1e-3


def trainer(folder: Path, steps: int, *callbacks, every: int = 4, **settings) -> L.Trainer:
    warnings.filterwarnings("ignore", module="lightning")
    options = {"logger": False, "val_check_interval": 5, "log_every_n_steps": 5, **settings}
    return L.Trainer(
        accelerator="cpu",
        max_steps=steps,
        max_epochs=-1,
        callbacks=[BatchesLog(folder / "batches.csv"), Checkpoints(folder / "checkpoints", every=every), *callbacks],
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


def make_stream(**settings) -> Stream:
    defaults = {"capacity": 96, "watermark": 24, "ticket_size": 8, "batch_size": 6, "seed": 5, "schedule": "lockstep"}
    return Stream(Toy(delay=jitter, broken=frozenset({12})), **{**defaults, **settings})


def train(folder: Path, steps: int, *callbacks, every: int = 4, **settings) -> Linear:
    """Train, going on from the newest checkpoint where there is one; leave a hash of the weights."""
    torch.set_num_threads(1)
    torch.manual_seed(1)
    model, data = Linear(), StreamData(make_stream(**settings), validation=10)
    trainer(folder, steps, *callbacks, every=every).fit(
        model, datamodule=data, ckpt_path=latest_checkpoint(folder / "checkpoints")
    )
    weights = b"".join(values.numpy().tobytes() for values in model.state_dict().values())
    (folder / "weights.sha256").write_text(hashlib.sha256(weights).hexdigest())
    return model
