"""Whether code follows the device of its inputs, found out without owning a second device."""

import multiprocessing
import os
import pickle
import sys
import traceback
from collections.abc import Callable

import torch

from pdekit.core.errors import InputError

__all__ = ["check_device"]


def check_device(fn: Callable[[torch.device], object], *, timeout: float = 120.0) -> None:
    """Run a function on a pretended accelerator, where no tensor may have been left on the CPU.

    The pretence has shapes, types and devices but no numbers, so it takes no memory, and reading a value
    (``float(x)``, ``bool(x)``, ``if x > 0``) fails too: on a real device that would make the program wait. It runs in
    a new process, because a device once registered stays. Where a real accelerator exists, the function runs there as
    well.

    Args:
        fn: takes the device, makes its tensors there (``torch.ones(3, device=device)``), and builds modules in its
            context (``with device: model = FNO(1, 1)``; moving them afterwards cannot be pretended). It must be
            importable: defined at the top of a module, or a ``functools.partial`` of such a function.
        timeout: seconds until a function that hangs is given up.

    Raises:
        AssertionError: the function failed; the message ends with the error and where it came from.
        InputError: the function is a lambda or defined inside another.

    Example, at the top of a test file::

        def smooth(device):
            operator = Stencil([torch.ones(8, 9, device=device), torch.ones(9, 8, device=device)])
            operator.matvec(torch.ones(operator.shape[1], device=device))

        def test_on_an_accelerator():
            check_device(smooth)

    Source: FakeTensorMode and the PrivateUse1 backend of PyTorch.
    """
    try:
        pickle.dumps(fn)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InputError(
            f"check_device runs {fn!r} in a new process and cannot take it there ({error}); define it at the top of a "
            "module."
        ) from error
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_pretend, args=(fn, sender), daemon=True)
    process.start()
    sender.close()
    try:
        report = receiver.recv() if receiver.poll(timeout) else f"it did not end within {timeout:g} s"
    except EOFError:
        process.join(timeout)
        report = f"its process died with exit code {process.exitcode}"
    finally:
        process.kill()
        process.join()
    if report:
        raise AssertionError(f"{_name(fn)} fails on an accelerator: {report}")
    if torch.accelerator.is_available():
        fn(torch.accelerator.current_accelerator() or torch.device("cpu"))


def _pretend(fn: Callable[[torch.device], object], sender) -> None:
    """In the new process: report an empty string or what went wrong, and leave without running any clean-up."""
    report = ""
    try:
        from torch._subclasses.fake_tensor import FakeTensorMode
        from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

        _setup_privateuseone_for_python_backend("fakegpu")
        with FakeTensorMode():
            fn(torch.device("fakegpu"))
    except BaseException as error:
        report = _explain(error)
    sender.send(report)
    sender.close()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # the fake device has no clean-up, and interpreters have crashed in it


def _explain(error: BaseException) -> str:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f"{os.sep}torch{os.sep}" not in f.filename]
    where = f"\n  at {frames[-1].filename}:{frames[-1].lineno}, {frames[-1].line}" if frames else ""
    what = str(error).strip().splitlines()
    name = type(error).__name__
    hint = ""
    if "DeviceMismatch" in name:
        hint = " (a tensor was left on the CPU)"
    elif "DataDependent" in name:
        hint = " (a value is read, which makes an accelerator wait)"
    return f"{name}{hint}: {what[0] if what else ''}{where}"


def _name(fn: Callable) -> str:
    return getattr(fn, "__qualname__", None) or getattr(getattr(fn, "func", None), "__qualname__", repr(fn))
