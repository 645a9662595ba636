"""A trained network that stands in for a family's solver, and the folder it is kept in."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pdekit.core.errors import InputError
from pdekit.core.folders import FORMAT, WEIGHTS, find_class, read_description, read_weights, write_folder
from pdekit.domain import Grid, Mesh
from pdekit.samples import Inputs, Samples, Schema, hdf5
from pdekit.train.channels import Channels
from pdekit.train.normaliser import Normaliser

__all__ = ["DESCRIPTION", "Surrogate", "load"]

DESCRIPTION, MESH = "surrogate.json", "mesh.h5"
TRUSTED = ("pdekit.nn",)
"""Modules whose classes a model folder may name; others need ``allow``."""


class Surrogate(nn.Module):
    """A network with all it needs to take a family's inputs and give its outputs.

    Args:
        model: ``(batch, *shape, inputs)`` to ``(batch, *shape, outputs)``, in normalised units. To be saved it must
            have ``arguments``, the constructor's as plain containers.
        schema: of the samples it is trained on.
        channels: which fields, in which order; those of the schema by default.
        normaliser: fitted now or later, before the first use.

    The outputs are what the network gives: boundary values are not repaired. A model with ``resolution_free = True``
    predicts on any grid of the same box.

    Raises:
        InputError: the model does not fit the domain of the schema.

    Example:
        >>> import pdekit as pk
        >>> from pdekit.samples import FieldSpec
        >>> schema = Schema(pk.Grid((9, 9)), (FieldSpec("coefficient", "input"), FieldSpec("solution", "output")))
        >>> normaliser = Normaliser(1, 1).fit(torch.rand(4, 9, 9, 1), torch.rand(4, 9, 9, 1))
        >>> model = pk.nn.FNO(1, 1, basis="sine", modes=3, width=4, layers=1)
        >>> surrogate = Surrogate(model, schema, normaliser=normaliser)
        >>> fine = Inputs(schema.with_domain(pk.Grid((17, 17))), {"coefficient": torch.rand(2, 17, 17)})
        >>> surrogate.predict(fine)["solution"].shape
        torch.Size([2, 17, 17])
        >>> surrogate.save("model")
        >>> same = pk.load("model").predict(fine)["solution"]
        >>> torch.equal(same, surrogate.predict(fine)["solution"])
        True
    """

    def __init__(
        self, model: nn.Module, schema: Schema, channels: Channels | None = None, normaliser: Normaliser | None = None
    ):
        super().__init__()
        self.schema = schema
        self.channels = channels or Channels.of(schema)
        self.model = model
        self.normaliser = normaliser or Normaliser(len(self.channels.inputs), len(self.channels.outputs))
        self._check_domain(schema)

    def forward(self, x: Float[Tensor, "batch *shape inputs"]) -> Float[Tensor, "batch *shape outputs"]:
        """Stacked physical inputs to stacked physical outputs; differentiable."""
        return self.normaliser.decode(self.model(self.normaliser.encode(x)))

    @torch.no_grad()
    def predict(self, inputs: Inputs, *, batch_size: int = 32) -> Samples:
        """Outputs of a batch of inputs.

        Args:
            inputs: on the grid trained on, or on another of the same box if the model is resolution-free.
            batch_size: samples at a time.

        Returns:
            The inputs with predicted outputs, in the precision and on the device of the inputs, without certificate.

        Raises:
            InputError: another grid, box, equation, boundary condition or set of fields than the model was made for.
        """
        if batch_size < 1:
            raise InputError(f"batch_size={batch_size}; expected at least 1.")
        if not isinstance(inputs, Inputs):
            raise InputError(
                f"predict() was given a {type(inputs).__name__}; expected Inputs, as family.draw() and "
                "family.inputs_from() return."
            )
        self._check_inputs(inputs)
        if len(inputs) == 0:
            raise InputError("The inputs are an empty batch; expected at least one sample.")
        training, like = self.training, self.normaliser.input_mean
        self.eval()
        try:
            parts = [
                self(self.channels.stack_inputs(inputs[k : k + batch_size]).to(like.device))
                for k in range(0, len(inputs), batch_size)
            ]
        finally:
            self.train(training)
        given = {name: inputs[name] for name in inputs.schema.inputs}
        target = given[self.channels.inputs[0]]
        predicted = self.channels.split_outputs(torch.cat(parts).to(target))
        return Samples(inputs.schema, {**given, **predicted}, inputs.identity)

    def save(self, directory: str | Path) -> None:
        """Write a folder for :func:`pdekit.load`: weights as safetensors, a mesh as HDF5, the rest as JSON, no code.

        The folder appears under its name only when it is complete; a surrogate saved there before is replaced.

        Raises:
            InputError: the model has no ``arguments``, or the place is taken by something else.
            OSError: the disk is full or not writable; nothing is left behind.
        """

        def mesh_beside(folder: Path) -> None:
            if isinstance(self.schema.one_domain, Mesh):
                hdf5.save_mesh(folder / MESH, self.schema.one_domain)

        write_folder(directory, DESCRIPTION, self._description(), self.state_dict(), what="surrogate", more=mesh_beside)

    def _description(self) -> dict[str, Any]:
        import pdekit

        cls = type(self.model)
        arguments = getattr(self.model, "arguments", None)
        if not isinstance(arguments, dict):
            raise InputError(
                f"{cls.__name__} cannot be saved: it has no `arguments`. Keep the constructor's arguments there, as a "
                "dictionary of numbers, strings and lists, so that the model can be built again."
            )
        return {
            "format": FORMAT,
            "kind": "surrogate",
            "pdekit": pdekit.__version__,
            "model": {"class_path": f"{cls.__module__}.{cls.__qualname__}", "init_args": arguments},
            "schema": self.schema.to_json(),
            "channels": asdict(self.channels),
        }

    def _check_domain(self, schema: Schema) -> None:
        for name in (*self.channels.inputs, *self.channels.outputs):
            if schema.shape_of(name) != schema.one_domain.shape or schema.field(name).complex:
                kind = "complex" if schema.field(name).complex else f"of shape {schema.shape_of(name)}"
                raise InputError(
                    f"The field {name!r} is {kind}; a surrogate takes real fields of one value a point, of shape "
                    f"{schema.one_domain.shape}."
                )
        grid, closed = schema.one_domain, getattr(self.model, "closed", None)
        if closed is None:
            return
        if isinstance(grid, Mesh):
            raise InputError(
                f"{type(self.model).__name__} lives on grids and the samples on {grid}; expected a model of the points "
                "of a mesh (one without `closed`), or a family on a Grid."
            )
        if len(closed) != grid.dim:
            raise InputError(f"The model is made for {len(closed)} dimensions; the grid has {grid.dim}.")
        for axis, (model, stored) in enumerate(zip(closed, grid.closed_axes, strict=True)):
            if model and not stored:
                raise InputError(
                    f"Axis {axis} of the grid is open (periodic), but the model expects both ends to be stored; give "
                    'the model basis="fourier" without padding on this axis.'
                )
            if stored and not model:
                raise InputError(
                    f"Axis {axis} of the grid is closed (both ends stored), but the model has an unpadded Fourier "
                    'basis there, which would take both ends for one point; give it basis="sine" (Dirichlet), '
                    '"cosine" (Neumann), or a padding such as 0.125.'
                )

    def _check_inputs(self, inputs: Inputs) -> None:
        given, known = inputs.schema, self.schema
        for name in self.channels.inputs:
            inputs[name]
        for name in self.channels.outputs:
            given.field(name)
        self._check_domain(given)
        self._check_place(given.one_domain, known.one_domain)
        if given.equation != known.equation:
            raise InputError(
                f"The inputs belong to the equation {given.equation!r}; the model was made for {known.equation!r}."
            )
        if given.boundaries != known.boundaries:
            raise InputError(
                f"The inputs have the boundary conditions {given.boundaries}; the model was made for "
                f"{known.boundaries}."
            )
        if given.one_domain.shape != known.one_domain.shape and not getattr(self.model, "resolution_free", False):
            raise InputError(
                f"The inputs have {given.one_domain.shape} points; {type(self.model).__name__} is tied to the "
                f"{known.one_domain.shape} it was trained on."
            )

    def _check_place(self, given: Grid | Mesh, known: Grid | Mesh) -> None:
        if isinstance(given, Mesh) and isinstance(known, Mesh):
            if given.fingerprint != known.fingerprint and not getattr(self.model, "resolution_free", False):
                raise InputError(f"The inputs live on another mesh ({given}) than the model was trained on ({known}).")
        elif isinstance(given, Mesh) or isinstance(known, Mesh):
            raise InputError(f"The inputs live on {given}; the model was made for {known}.")
        elif given.box != known.box:
            raise InputError(f"The inputs live on the box {given.box}; the model was made for {known.box}.")


def load(directory: str | Path, *, device: torch.device | str = "cpu", allow: Sequence[str] = ()) -> Surrogate:
    """Load what :meth:`Surrogate.save` wrote. No code from the folder runs, whoever made it.

    Args:
        directory: the folder, such as ``runs/quickstart/model``.
        device: where the weights go.
        allow: modules beside ``pdekit.nn`` whose model classes may be built.

    Returns:
        The surrogate, in evaluation mode.

    Raises:
        InputError: no such folder, a pickle in place of the weights, a class that is not allowed, or weights that do
            not belong to the model.
    """
    directory = Path(directory)
    description = read_description(directory, DESCRIPTION, kind="surrogate", what="surrogate")
    try:
        model_class = find_class(description["model"]["class_path"], TRUSTED, tuple(allow))
        arguments = dict(description["model"]["init_args"])
        mesh = hdf5.load_mesh(directory / MESH) if "mesh" in description["schema"]["domain"] else None
        schema = Schema.from_json(description["schema"], mesh)
        channels = Channels(*(tuple(description["channels"][key]) for key in ("inputs", "outputs")))
    except (KeyError, TypeError) as error:
        raise InputError(f"{directory / DESCRIPTION} is incomplete: {error!r}.") from error
    if not issubclass(model_class, nn.Module):
        raise InputError(f"{model_class.__name__} is no model: expected a subclass of torch.nn.Module.")

    def build() -> Surrogate:
        try:
            return Surrogate(model_class(**arguments), schema, channels)
        except (TypeError, RuntimeError, OverflowError) as error:
            raise InputError(
                f"{directory / DESCRIPTION}: {model_class.__name__} refuses its arguments: {error}"
            ) from error

    with torch.device("meta"):  # shapes without memory: a forged file must not make us allocate what it likes
        shapes = {name: tuple(values.shape) for name, values in build().state_dict().items()}
    tensors = read_weights(directory / WEIGHTS, shapes, marker=DESCRIPTION)
    surrogate = build()
    surrogate.load_state_dict(tensors)
    return surrogate.to(device).eval()
